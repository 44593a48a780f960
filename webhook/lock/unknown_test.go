package lock

import (
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"gitgate.dev/gitgate/policy/verdict"
)

// A lock that could not be verified since the start puts off what it may hold, and
// does not stop the rest of the cluster.
func TestUnknown(t *testing.T) {
	i := NewInventory()
	i.SetSynced(true)
	i.SetUnknown(Unknown{
		Namespaces: map[string]bool{"closed": true, "system": false},
		Objects:    map[UnknownObject]bool{{Kind: "ConfigMap", Namespace: "shop", Name: "m"}: true},
	})
	l := &Lock{cfg: Config{Inventory: i, System: "system", Reconciler: "r", DryRunner: "d"}, recent: newRecent()}
	for name, tc := range map[string]struct {
		reason          string
		namespace, name string
		pending         bool
	}{
		"Object":    {"It is on record.", "shop", "m", true},
		"Neighbour": {"It is not.", "shop", "n", false},
		"Closed":    {"The namespace may be closed.", "closed", "any", true},
		"Elsewhere": {"Nobody's.", "default", "m", false},
		"System":    {"Our own namespace has rules of its own.", "system", "m", false},
	} {
		t.Run(name, func(t *testing.T) {
			a := l.Decide(t.Context(), &admissionv1.AdmissionRequest{
				Operation: admissionv1.Create, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "ConfigMap"},
				Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "configmaps"},
				Namespace: tc.namespace, Name: tc.name,
				Object: runtime.RawExtension{Raw: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"` + tc.name + `","namespace":"` + tc.namespace + `"}}`)},
			})
			if a.Allowed == tc.pending || a.Pending != tc.pending || tc.pending && a.Reason != verdict.NotReady {
				t.Errorf("%s\nanswer %+v", tc.reason, a)
			}
		})
	}
	i.SetUnknown(Unknown{})
	if i.unknown.Load() != nil {
		t.Error("nothing is unknown, and it is asked for all the same")
	}
}
