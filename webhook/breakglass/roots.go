package breakglass

import (
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

const (
	groupAdmission    = "admissionregistration.k8s.io"
	groupCertificates = "certificates.k8s.io"
	groupExtensions   = "apiextensions.k8s.io"
	groupAggregation  = "apiregistration.k8s.io"
	groupRBAC         = "rbac.authorization.k8s.io"
)

// rootResource says why no grant is ever for a resource, or nothing.
func rootResource(group, resource, subresource string) string {
	switch {
	case isGitSync(group, resource, subresource):
		return "" // it is how a lock is taken off when nothing else helps
	case group == v1alpha1.GroupVersion.Group:
		return "gitgate's own kinds are what the lock stands on"
	case group == groupAdmission:
		return "webhook configurations and admission policies are what the lock stands on"
	case group == groupCertificates:
		return "a certificate can be any identity"
	case group == "" && resource == "serviceaccounts" && subresource == "token":
		return "a token is an identity that outlives the grant"
	case group == "" && resource == "nodes" && subresource == "proxy":
		return "it reaches into every Pod of the node, gitgate's too"
	}
	return ""
}

func isGitSync(group, resource, subresource string) bool {
	return group == v1alpha1.GroupVersion.Group && resource == "gitsyncs" && subresource == ""
}

func notGitSync(r v1alpha1.BreakGlassResource) bool { return !isGitSync(r.Group, r.Resource, "") }

// root says why no grant covers this very request, or nothing. What cannot be
// read counts as a root.
func (b *Book) root(req *admissionv1.AdmissionRequest) string {
	if why := rootResource(req.Resource.Group, req.Resource.Resource, req.SubResource); why != "" {
		return why
	}
	name := nameOf(req)
	switch {
	case isGitSync(req.Resource.Group, req.Resource.Resource, req.SubResource):
		return ""
	case req.Namespace == b.cfg.System || isNamespace(req) && name == b.cfg.System:
		return "it is in gitgate's own namespace"
	case req.Resource.Group == groupExtensions && strings.HasSuffix(name, "."+v1alpha1.GroupVersion.Group):
		return "it defines gitgate's own kinds"
	case req.Resource.Group == groupAggregation && strings.HasSuffix(name, "."+v1alpha1.GroupVersion.Group):
		return "it says who serves gitgate's own kinds"
	}
	isSecret := req.Resource.Group == "" && req.Resource.Resource == "secrets"
	if !isSecret && req.Resource.Group != groupRBAC {
		return ""
	}
	for _, raw := range [][]byte{req.Object.Raw, req.OldObject.Raw} {
		if len(raw) == 0 {
			continue
		}
		var object map[string]any
		if err := json.Unmarshal(raw, &object); err != nil {
			return "it cannot be read"
		}
		if isSecret && mintsIdentity(object) && req.Operation != admissionv1.Delete {
			return "a token Secret is an identity that outlives the grant"
		}
		if !isSecret && b.isOwnRBAC(object) {
			return "it says what gitgate may do"
		}
	}
	return ""
}

func mintsIdentity(secret map[string]any) bool {
	kind, _, _ := unstructured.NestedString(secret, "type")
	return kind == "kubernetes.io/service-account-token" || kind == "bootstrap.kubernetes.io/token"
}

// isOwnRBAC reports whether a role or binding is gitgate's by its name, the role
// that it refers to, or one of its subjects.
func (b *Book) isOwnRBAC(object map[string]any) bool {
	name, _, _ := unstructured.NestedString(object, "metadata", "name")
	role, _, _ := unstructured.NestedString(object, "roleRef", "name")
	if strings.HasPrefix(name, "gitgate") || strings.HasPrefix(role, "gitgate") {
		return true
	}
	subjects, _, err := unstructured.NestedSlice(object, "subjects")
	if err != nil {
		return true
	}
	for _, s := range subjects {
		subject, _ := s.(map[string]any)
		name, _ := subject["name"].(string)
		namespace, _ := subject["namespace"].(string)
		if namespace == b.cfg.System || strings.HasPrefix(name, "system:serviceaccount:"+b.cfg.System+":") ||
			name == "system:serviceaccounts:"+b.cfg.System {
			return true
		}
	}
	return false
}
