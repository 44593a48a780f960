package schema

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
)

// formerGroups are built-in groups of which no kind can be applied, or none any
// more. A CustomResourceDefinition in one of them still counts.
var formerGroups = map[string]bool{
	"extensions": true, "settings.k8s.io": true, "auditregistration.k8s.io": true,
	"authentication.k8s.io": true, "authorization.k8s.io": true,
}

// notServed explains why a kind of a built-in group is not known.
func notServed(gvk schema.GroupVersionKind) (Problem, bool) {
	c := catalogue()
	if !c.groups[gvk.Group] && !formerGroups[gvk.Group] {
		return Problem{}, false
	}
	others := c.byKind[gvk.GroupKind()]
	if others == nil {
		others = c.byName[gvk.Kind]
	}
	message := fmt.Sprintf("%s %s is not served by Kubernetes %s", clean(short(gvk.Kind)), clean(short(gvk.GroupVersion().String())), Version())
	if best := newest(others); best != nil {
		message += ": use " + best.groupVersion()
	} else {
		message += ", nor is this kind in any other version"
	}
	return Problem{Field: "apiVersion", Message: message, NotServed: true}, true
}

// newest returns the kind in the version that is to be preferred.
func newest(of []*builtin) *builtin {
	var best *builtin
	for _, k := range of {
		if best == nil || version.CompareKubeAwareVersionStrings(k.Version, best.Version) > 0 {
			best = k
		}
	}
	return best
}

// notServedBy explains that a CustomResourceDefinition does not serve a version.
func notServedBy(d *definition, gvk schema.GroupVersionKind) Problem {
	message := fmt.Sprintf("%s %s is not served by the CustomResourceDefinition %s", clean(short(gvk.Kind)),
		clean(short(gvk.GroupVersion().String())), d.name)
	var served []string
	for _, v := range d.versions {
		if v.served {
			served = append(served, d.gk.Group+"/"+v.name)
		}
	}
	if len(served) > 0 {
		message += ": use " + strings.Join(served, " or ")
	}
	return Problem{Field: "apiVersion", Message: clean(message), NotServed: true}
}
