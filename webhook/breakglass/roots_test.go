package breakglass_test

import (
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/breakglass"
)

// TestAttack_NoGrantOpensRoots: such resources cannot even be asked for.
func TestAttack_NoGrantOpensRoots(t *testing.T) {
	for id, resource := range map[string]string{
		"TrustPolicy": "trustpolicies.gitgate.dev", "Policies": "policysets.gitgate.dev", "Status": "gitsyncs.gitgate.dev/status", "Grants": "breakglasses.gitgate.dev",
		"K20/Validating": "validatingwebhookconfigurations.admissionregistration.k8s.io",
		"K20/Mutating":   "mutatingwebhookconfigurations.admissionregistration.k8s.io",
		"K20/Policies":   "validatingadmissionpolicies.admissionregistration.k8s.io",
		"K18/Token":      "serviceaccounts/token",
		"K18/Approval":   "certificatesigningrequests.certificates.k8s.io/approval",
		"K18/CSR":        "certificatesigningrequests.certificates.k8s.io",
		"K9/NodesProxy":  "nodes/proxy",
	} {
		t.Run(id, func(t *testing.T) {
			g := grant(func(g *v1alpha1.BreakGlassGrant) {
				g.Resources = []v1alpha1.BreakGlassResource{{Resource: "pods"}, breakglass.ParseResource(resource)}
			})
			err := breakglass.Validate(&g.Spec.Grant).ToAggregate()
			if err == nil || !strings.Contains(err.Error(), "spec.grant.resources[1]: Forbidden: no grant opens "+resource) {
				t.Errorf("Validate() = %v for %s", err, resource)
			}
		})
	}
}

// TestAttack_GrantsSpareRoots: requests that a grant seems to cover and must not.
func TestAttack_GrantsSpareRoots(t *testing.T) {
	const rbac = "rbac.authorization.k8s.io"
	for id, tc := range map[string]struct {
		reason      string
		resource    string
		name        string
		op          admissionv1.Operation
		object, old string
		want        bool
	}{
		"CRD":            {"It defines our kinds.", "customresourcedefinitions.apiextensions.k8s.io", "breakglasses.gitgate.dev", "DELETE", "", "{}", false},
		"OtherCRD":       {"Somebody else's kind.", "customresourcedefinitions.apiextensions.k8s.io", "widgets.example.com", "DELETE", "", "{}", true},
		"K24/APIService": {"It would serve our kinds from elsewhere.", "apiservices.apiregistration.k8s.io", "v1alpha1.gitgate.dev", "UPDATE", "{}", "{}", false},
		"Namespace":      {"Ours.", "namespaces", testSystem, "DELETE", "", "{}", false},
		"OtherNamespace": {"Another.", "namespaces", "shop", "DELETE", "", "{}", true},
		"OurRole":        {"What we may do.", "clusterroles." + rbac, "gitgate-webhook", "UPDATE", `{"rules":[]}`, `{}`, false},
		"OtherRole":      {"What others may do.", "clusterroles." + rbac, "view", "UPDATE", `{"rules":[]}`, `{}`, true},
		"RoleOfOurs":     {"It binds our role.", "clusterrolebindings." + rbac, "x", "CREATE", `{"roleRef":{"name":"gitgate-webhook"}}`, "", false},
		"BindsUs":        {"It gives our account more.", "clusterrolebindings." + rbac, "x", "CREATE", `{"subjects":[{"kind":"ServiceAccount","namespace":"gitgate-system","name":"gitgate-webhook"}]}`, "", false},
		"BindsUsAsUser":  {"By its user name.", "clusterrolebindings." + rbac, "x", "CREATE", `{"subjects":[{"kind":"User","name":"system:serviceaccount:gitgate-system:gitgate-dryrun"}]}`, "", false},
		"BindsUsAsGroup": {"By its group.", "clusterrolebindings." + rbac, "x", "CREATE", `{"subjects":[{"kind":"Group","name":"system:serviceaccounts:gitgate-system"}]}`, "", false},
		"UnbindsUs":      {"It takes what our account has.", "clusterrolebindings." + rbac, "x", "DELETE", "", `{"subjects":[{"kind":"ServiceAccount","namespace":"gitgate-system","name":"gitgate-webhook"}]}`, false},
		"StrangeSubject": {"Not a list.", "clusterrolebindings." + rbac, "x", "CREATE", `{"subjects":{}}`, "", false},
		"BindsOthers":    {"Somebody else.", "clusterrolebindings." + rbac, "x", "CREATE", `{"subjects":[{"kind":"User","name":"nina"}]}`, "", true},
	} {
		t.Run(id, func(t *testing.T) {
			s := newSite(t)
			resource := breakglass.ParseResource(tc.resource)
			s.take(func(g *v1alpha1.BreakGlassGrant) {
				g.Resources, g.Namespaces, g.Names, g.Verbs = []v1alpha1.BreakGlassResource{resource}, nil, []string{"*"}, []string{"create", "update", "delete"}
			})
			got := s.covers(request(func(r *req) {
				r.Operation, r.Name, r.Namespace = tc.op, tc.name, ""
				r.Resource = metav1.GroupVersionResource{Group: resource.Group, Version: "v1", Resource: resource.Resource}
				r.Object, r.OldObject = named(tc.object, tc.name), named(tc.old, tc.name)
			}))
			if got != tc.want {
				t.Errorf("%s\nCovers() = %t, want %t", tc.reason, got, tc.want)
			}
		})
	}
}

// named gives an object in JSON its name.
func named(object, name string) runtime.RawExtension {
	if object == "" {
		return runtime.RawExtension{}
	}
	rest := strings.TrimPrefix(object, "{")
	if rest != "}" {
		rest = "," + rest
	}
	return runtime.RawExtension{Raw: []byte(`{"metadata":{"name":"` + name + `"}` + rest)}
}

// TestGitSyncsCanBeOpened: a lock that cannot be taken off otherwise.
func TestGitSyncsCanBeOpened(t *testing.T) {
	gitsyncs := v1alpha1.BreakGlassResource{Group: "gitgate.dev", Resource: "gitsyncs"}
	update := request(func(r *req) {
		r.Resource, r.Namespace = metav1.GroupVersionResource{Group: "gitgate.dev", Version: "v1alpha1", Resource: "gitsyncs"}, testSystem
	})
	for name, tc := range map[string]struct {
		reason    string
		resources []v1alpha1.BreakGlassResource
		want      bool
	}{
		"Alone":  {"It takes the lock off.", []v1alpha1.BreakGlassResource{gitsyncs}, true},
		"Beside": {"Our namespace would open to more.", []v1alpha1.BreakGlassResource{gitsyncs, {Resource: "secrets"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			err := s.book.Set(s.sign(grant(func(g *v1alpha1.BreakGlassGrant) {
				g.Namespaces, g.Resources = []string{testSystem}, tc.resources
			}), s.alice, s.bob))
			if (err == nil) != tc.want || s.covers(update) != tc.want {
				t.Errorf("%s\nSet() = %v, covered: %t, want %t", tc.reason, err, s.covers(update), tc.want)
			}
		})
	}
}

func TestAttack_K18_TokenSecrets(t *testing.T) {
	for name, tc := range map[string]struct {
		op          admissionv1.Operation
		object, old string
		want        bool
	}{
		"Opaque":        {"CREATE", `{"type":"Opaque"}`, "", true},
		"Token":         {"CREATE", `{"type":"kubernetes.io/service-account-token"}`, "", false},
		"Bootstrap":     {"CREATE", `{"type":"bootstrap.kubernetes.io/token"}`, "", false},
		"UpdatedToken":  {"UPDATE", `{"type":"Opaque"}`, `{"type":"kubernetes.io/service-account-token"}`, false},
		"DeletedToken":  {"DELETE", "", `{"type":"kubernetes.io/service-account-token"}`, true},
		"UnreadableOld": {"UPDATE", `{"type":"Opaque"}`, `{"type":`, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.take(func(g *v1alpha1.BreakGlassGrant) {
				g.Resources, g.Verbs = []v1alpha1.BreakGlassResource{{Resource: "secrets"}}, []string{"create", "update", "delete"}
			})
			got := s.covers(request(func(r *req) {
				r.Operation, r.Resource = tc.op, metav1.GroupVersionResource{Version: "v1", Resource: "secrets"}
				r.Object, r.OldObject = named(tc.object, "web"), named(tc.old, "web")
			}))
			if got != tc.want {
				t.Errorf("Covers() = %t, want %t", got, tc.want)
			}
		})
	}
}

// TestAttack_K17_StolenReconciler: a grant for people does not help who holds the
// reconciler's token, nor a grant for its own account, which never counts.
func TestAttack_K17_StolenReconciler(t *testing.T) {
	s := newSite(t)
	s.take()
	thief := request(func(r *req) {
		r.UserInfo.Username = "system:serviceaccount:gitgate-system:gitgate-reconciler"
		r.UserInfo.Groups = []string{"system:serviceaccounts", "system:serviceaccounts:gitgate-system", "system:authenticated"}
	})
	if s.covers(thief) {
		t.Error("a grant for people covers the reconciler")
	}
	own := s.sign(grant(func(g *v1alpha1.BreakGlassGrant) { g.Users = []string{thief.UserInfo.Username} }), s.alice, s.bob)
	if err := s.book.Set(own); err == nil || s.covers(thief) {
		t.Errorf("Set() = %v for a grant to the reconciler", err)
	}
}

func TestHeld(t *testing.T) {
	deployments, pods := schema.GroupResource{Group: "apps", Resource: "deployments"}, schema.GroupResource{Resource: "pods"}
	to := func(verb string, resources ...string) func(*v1alpha1.BreakGlassGrant) {
		return func(g *v1alpha1.BreakGlassGrant) {
			g.Verbs, g.Resources = []string{verb}, nil
			for _, r := range resources {
				g.Resources = append(g.Resources, breakglass.ParseResource(r))
			}
		}
	}
	for name, tc := range map[string]struct {
		reason          string
		change          func(*v1alpha1.BreakGlassGrant)
		resource        schema.GroupResource
		namespace, name string
		at              time.Duration
		changed, gone   bool // held if changed, if missing
	}{
		"Update":       {"Its fields may be changed.", to("update", "deployments.apps"), deployments, "shop", "web", 0, true, false},
		"Scale":        {"Scaling changes the object.", to("update", "deployments.apps/scale"), deployments, "shop", "web", 0, true, false},
		"Create":       {"It may be made anew, and otherwise.", to("create", "deployments.apps"), deployments, "shop", "web", 0, true, false},
		"Delete":       {"It may be missing.", to("delete", "deployments.apps"), deployments, "shop", "web", 0, false, true},
		"Eviction":     {"An eviction deletes.", to("create", "pods/eviction"), pods, "shop", "web", 0, false, true},
		"Connect":      {"To look into a Pod changes nothing of it.", to("connect", "pods/exec"), pods, "shop", "web", 0, false, false},
		"OtherGroup":   {"Another group.", to("update", "deployments.apps"), schema.GroupResource{Resource: "deployments"}, "shop", "web", 0, false, false},
		"OtherObject":  {"Another name.", to("update", "deployments.apps"), deployments, "shop", "api", 0, false, false},
		"OtherSpace":   {"Another namespace.", to("update", "deployments.apps"), deployments, "test", "web", 0, false, false},
		"ClusterScope": {"Something in no namespace.", to("update", "deployments.apps"), deployments, "", "web", 0, false, false},
		"Expired":      {"It is over.", to("update", "deployments.apps"), deployments, "shop", "web", time.Hour, false, false},
		"Pending":      {"It has not begun.", to("update", "deployments.apps"), deployments, "shop", "web", -time.Hour, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.now = noon.Add(tc.at)
			g := s.take(tc.change)
			for missing, want := range map[bool]bool{false: tc.changed, true: tc.gone} {
				got, until, ok := s.book.Held(tc.resource, tc.namespace, tc.name, missing)
				if ok != want || ok && (got != g.Name || !until.Equal(noon.Add(time.Hour))) || !ok && got != "" {
					t.Errorf("%s\nHeld(missing: %t) = %q, %s, %t, want %t", tc.reason, missing, got, until, ok, want)
				}
			}
			_ = s.book.Set(revoked(g))
			if _, _, ok := s.book.Held(tc.resource, tc.namespace, tc.name, !tc.changed); ok {
				t.Errorf("%s\nA revoked grant holds.", tc.reason)
			}
		})
	}
}

func TestHeldUntilTheLastGrantEnds(t *testing.T) {
	s := newSite(t)
	s.take()
	longer := s.take(func(g *v1alpha1.BreakGlassGrant) {
		g.Expiry, g.Nonce = metav1.NewTime(noon.Add(3*time.Hour)), strings.Repeat("c", 32)
	})
	s.take(func(g *v1alpha1.BreakGlassGrant) { g.Nonce = strings.Repeat("d", 32) })
	got, until, ok := s.book.Held(schema.GroupResource{Group: "apps", Resource: "deployments"}, "shop", "web", false)
	if !ok || got != longer.Name || !until.Equal(noon.Add(3*time.Hour)) {
		t.Errorf("Held() = %s, %s, %t", got, until, ok)
	}
	s.book.SetSynced(false)
	if _, _, ok := s.book.Held(schema.GroupResource{Group: "apps", Resource: "deployments"}, "shop", "web", false); ok {
		t.Error("a Book that is not synced holds")
	}
}
