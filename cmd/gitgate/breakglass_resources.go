package main

import (
	"slices"
	"strings"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// connectSubresources are those that are connected to rather than written.
var connectSubresources = []string{"attach", "exec", "portforward", "proxy"}

type builtinResource struct {
	group      string
	namespaced bool
}

// builtinResources tells where the built-in resources that people know by heart
// are, so that a slip is found before anybody signs.
var builtinResources = map[string]builtinResource{
	"configmaps": {"", true}, "endpoints": {"", true}, "limitranges": {"", true}, "persistentvolumeclaims": {"", true},
	"pods": {"", true}, "replicationcontrollers": {"", true}, "resourcequotas": {"", true}, "secrets": {"", true},
	"serviceaccounts": {"", true}, "services": {"", true},
	"namespaces": {"", false}, "nodes": {"", false}, "persistentvolumes": {"", false},

	"controllerrevisions": {"apps", true}, "daemonsets": {"apps", true}, "deployments": {"apps", true},
	"replicasets": {"apps", true}, "statefulsets": {"apps", true},
	"cronjobs": {"batch", true}, "jobs": {"batch", true},
	"horizontalpodautoscalers": {"autoscaling", true},
	"poddisruptionbudgets":     {"policy", true},
	"endpointslices":           {"discovery.k8s.io", true},
	"ingresses":                {"networking.k8s.io", true}, "networkpolicies": {"networking.k8s.io", true},
	"ingressclasses": {"networking.k8s.io", false},
	"roles":          {"rbac.authorization.k8s.io", true}, "rolebindings": {"rbac.authorization.k8s.io", true},
	"clusterroles": {"rbac.authorization.k8s.io", false}, "clusterrolebindings": {"rbac.authorization.k8s.io", false},
	"storageclasses":            {"storage.k8s.io", false},
	"priorityclasses":           {"scheduling.k8s.io", false},
	"customresourcedefinitions": {"apiextensions.k8s.io", false},
	"apiservices":               {"apiregistration.k8s.io", false},
	"gitsyncs":                  {"gitgate.dev", true},
}

// grantNotes says what a grant opens beyond what its words say.
func grantNotes(g *v1alpha1.BreakGlassGrant) []string {
	var notes []string
	if len(g.Namespaces) == 0 {
		notes = append(notes, "it names no namespace: it is for objects that are in none")
	}
	if slices.ContainsFunc(g.Names, func(n string) bool { return strings.HasSuffix(n, "*") }) {
		notes = append(notes, "a name that ends in * is any name that begins so")
	}
	for _, r := range g.Resources {
		main, sub, _ := strings.Cut(r.Resource, "/")
		switch {
		case r.Group == "" && main == "pods" && slices.Contains([]string{"exec", "attach"}, sub):
			notes = append(notes, "who can get into a Pod can do what its service account may do, also after the grant has ended")
		case r.Group == "" && main == "namespaces" && slices.Contains(g.Verbs, "delete"):
			notes = append(notes, "deleting a namespace deletes all that is in it")
		case createsPods(r) && (slices.Contains(g.Verbs, "create") || slices.Contains(g.Verbs, "update")):
			notes = append(notes, "who can write "+main+" can run any image, as any service account of the namespace")
		case r.Group == v1alpha1.GroupVersion.Group && main == "gitsyncs":
			notes = append(notes, "who can write a GitSync can take its lock off, and say which commits of which trusted repository it follows")
		case main == "customresourcedefinitions" && slices.Contains(g.Verbs, "delete"):
			notes = append(notes, "deleting a CustomResourceDefinition deletes all its objects")
		}
	}
	slices.Sort(notes)
	return slices.Compact(notes)
}

// createsPods reports whether a resource is a Pod or holds a template of one.
func createsPods(r v1alpha1.BreakGlassResource) bool {
	workloads := []string{"cronjobs", "daemonsets", "deployments", "jobs", "pods", "pods/ephemeralcontainers", "replicasets", "replicationcontrollers", "statefulsets"}
	return slices.Contains(workloads, r.Resource)
}
