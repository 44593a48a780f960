package breakglass

import (
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestRootHoldsAlone: no accepted grant names such a resource or our namespace;
// should one ever, the request itself is still refused.
func TestRootHoldsAlone(t *testing.T) {
	b := &Book{cfg: Config{System: "gitgate-system"}}
	for name, tc := range map[string]struct {
		group, resource, subresource, namespace string
		spared                                  bool
	}{
		"OwnNamespace": {"", "configmaps", "", "gitgate-system", true},
		"OwnPods":      {"", "pods", "exec", "gitgate-system", true},
		"Trust":        {"gitgate.dev", "trustpolicies", "", "", true},
		"Status":       {"gitgate.dev", "gitsyncs", "status", "shop", true},
		"Webhooks":     {"admissionregistration.k8s.io", "validatingwebhookconfigurations", "", "", true},
		"Token":        {"", "serviceaccounts", "token", "shop", true},
		"Node":         {"", "nodes", "proxy", "", true},
		"CSR":          {"certificates.k8s.io", "certificatesigningrequests", "approval", "", true},
		"Elsewhere":    {"", "configmaps", "", "shop", false},
		"GitSync":      {"gitgate.dev", "gitsyncs", "", "gitgate-system", false},
	} {
		t.Run(name, func(t *testing.T) {
			why := b.root(&admissionv1.AdmissionRequest{Operation: admissionv1.Update, Namespace: tc.namespace, Name: "x", SubResource: tc.subresource,
				Resource: metav1.GroupVersionResource{Group: tc.group, Version: "v1", Resource: tc.resource}})
			if (why != "") != tc.spared {
				t.Errorf("root() = %q, want a reason: %t", why, tc.spared)
			}
		})
	}
}
