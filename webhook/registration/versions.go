package registration

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// pins asks the API server what it serves in several versions. A group whose
// server does not answer keeps the pins that it had.
func pins(d discovery.DiscoveryInterface, versions func(schema.GroupResource) string, before Pins) (Pins, error) {
	groups, lists, err := d.ServerGroupsAndResources()
	var failed *discovery.ErrGroupDiscoveryFailed
	if err != nil && !errors.As(err, &failed) {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	silent := map[string]bool{}
	if failed != nil {
		for gv := range failed.Groups {
			silent[gv.Group] = true
		}
	}
	served := servedVersions(lists)
	out := Pins{}
	for _, g := range groups {
		if silent[g.Name] {
			continue
		}
		for gr, in := range served {
			if gr.Group == g.Name && len(in) > 1 && !unpinned(gr) {
				out[gr] = choose(g, gr, in, versions)
			}
		}
	}
	maps.Copy(out, before.of(silent))
	return out, nil
}

// of returns the pins of some groups.
func (p Pins) of(groups map[string]bool) Pins {
	out := Pins{}
	for gr, version := range p {
		if groups[gr.Group] {
			out[gr] = version
		}
	}
	return out
}

// unpinned are the resources that never reach the webhook anyway.
func unpinned(gr schema.GroupResource) bool { return gr.Resource == "events" }

// servedVersions lists the versions of each resource.
func servedVersions(lists []*metav1.APIResourceList) map[schema.GroupResource]map[string]bool {
	out := map[schema.GroupResource]map[string]bool{}
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range l.APIResources {
			if strings.Contains(r.Name, "/") {
				continue
			}
			gr := schema.GroupResource{Group: gv.Group, Resource: r.Name}
			if out[gr] == nil {
				out[gr] = map[string]bool{}
			}
			out[gr][gv.Version] = true
		}
	}
	return out
}

// choose takes the version of the desired state if it is served, and else the
// one that the group prefers.
func choose(g *metav1.APIGroup, gr schema.GroupResource, served map[string]bool, versions func(schema.GroupResource) string) string {
	if versions != nil {
		if v := versions(gr); served[v] {
			return v
		}
	}
	if served[g.PreferredVersion.Version] {
		return g.PreferredVersion.Version
	}
	for _, v := range g.Versions {
		if served[v.Version] {
			return v.Version
		}
	}
	return "" // not reached: what is served is in the group
}
