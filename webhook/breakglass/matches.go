package breakglass

import (
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/util/json"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// matches reports whether a request fits every field of a grant but its time.
func matches(g *v1alpha1.BreakGlassGrant, req *admissionv1.AdmissionRequest) bool {
	return slices.Contains(g.Verbs, strings.ToLower(string(req.Operation))) &&
		matchesUser(g, req) && matchesResource(g, req) &&
		matchesNamespace(g, scopeOf(req)) && matchesName(g, nameOf(req))
}

func matchesUser(g *v1alpha1.BreakGlassGrant, req *admissionv1.AdmissionRequest) bool {
	return slices.Contains(g.Users, req.UserInfo.Username) ||
		slices.ContainsFunc(g.Groups, func(group string) bool { return slices.Contains(req.UserInfo.Groups, group) })
}

// matchesResource compares what is judged. Where the API server converted the
// request from another group or resource, what was asked for is not what signers
// read, and no grant covers it.
func matchesResource(g *v1alpha1.BreakGlassGrant, req *admissionv1.AdmissionRequest) bool {
	asked := v1alpha1.BreakGlassResource{Group: req.Resource.Group, Resource: req.Resource.Resource}
	if r := req.RequestResource; r != nil &&
		(r.Group != asked.Group || r.Resource != asked.Resource || req.RequestSubResource != req.SubResource) {
		return false
	}
	if req.SubResource != "" {
		asked.Resource += "/" + req.SubResource
	}
	return slices.Contains(g.Resources, asked)
}

func matchesNamespace(g *v1alpha1.BreakGlassGrant, namespace string) bool {
	if namespace == "" {
		return len(g.Namespaces) == 0
	}
	return slices.Contains(g.Namespaces, namespace)
}

func matchesName(g *v1alpha1.BreakGlassGrant, name string) bool {
	return name != "" && slices.ContainsFunc(g.Names, func(pattern string) bool {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
			return strings.HasPrefix(name, prefix)
		}
		return name == pattern
	})
}

// isNamespace reports whether the request is for an object of kind Namespace.
func isNamespace(req *admissionv1.AdmissionRequest) bool {
	return req.Resource.Group == "" && req.Resource.Resource == "namespaces"
}

// scopeOf is the namespace that the object is in. The API server gives that of a
// Namespace as its own.
func scopeOf(req *admissionv1.AdmissionRequest) string {
	if isNamespace(req) {
		return ""
	}
	return req.Namespace
}

// nameOf is the name of the object. One request of a deletecollection names none:
// the object that would go does. It is empty when the two disagree, and then
// matches nothing.
func nameOf(req *admissionv1.AdmissionRequest) string {
	if req.SubResource != "" {
		return req.Name // the object may be another, such as an Eviction
	}
	raw := req.Object.Raw
	if req.Operation == admissionv1.Delete {
		raw = req.OldObject.Raw
	}
	if len(raw) == 0 {
		return req.Name
	}
	var object struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	if json.Unmarshal(raw, &object) != nil || req.Name != "" && object.Metadata.Name != req.Name {
		return ""
	}
	return object.Metadata.Name
}
