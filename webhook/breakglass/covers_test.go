package breakglass_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/breakglass"
)

type req = admissionv1.AdmissionRequest

func TestCovers(t *testing.T) {
	exec := func(r *req) {
		r.Operation, r.SubResource, r.Name = admissionv1.Connect, "exec", "web-5d9c-x7"
		r.Resource = metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
	}
	for name, tc := range map[string]struct {
		reason string
		change func(*req)
		want   bool
	}{
		"User":           {"The request of which the grant speaks.", func(*req) {}, true},
		"Group":          {"Anybody on call.", func(r *req) { r.UserInfo.Username, r.UserInfo.Groups = "nina", []string{"dev", "oncall"} }, true},
		"OtherVersion":   {"A resource is meant in every version.", func(r *req) { r.Resource.Version = "v1beta2" }, true},
		"OtherNamespace": {"Each of its namespaces.", func(r *req) { r.Namespace = "prod" }, true},
		"Pattern":        {"web-* is a Pod of web.", exec, true},
		"DryRun":         {"A dry run of what may be written.", func(r *req) { r.DryRun = new(bool); *r.DryRun = true }, true},
		"SameRequested":  {"What was asked for is what is judged.", func(r *req) { g := r.Resource; r.RequestResource = &g }, true},
		"UserCase":       {"Names are exact.", func(r *req) { r.UserInfo.Username = "Oscar" }, false},
		"UserPrefix":     {"And whole.", func(r *req) { r.UserInfo.Username = "oscar2" }, false},
		"UserAsGroup":    {"A user is no group.", func(r *req) { r.UserInfo.Username, r.UserInfo.Groups = "x", []string{"oscar"} }, false},
		"GroupAsUser":    {"A group is no user.", func(r *req) { r.UserInfo.Username = "oncall" }, false},
		"NoUser":         {"Nobody in particular.", func(r *req) { r.UserInfo.Username = "" }, false},
		"Create":         {"A verb that it lacks.", func(r *req) { r.Operation = admissionv1.Create }, false},
		"Delete":         {"Another.", func(r *req) { r.Operation = admissionv1.Delete }, false},
		"NoOperation":    {"No verb.", func(r *req) { r.Operation = "" }, false},
		"Subresource":    {"A resource does not include its subresources.", func(r *req) { r.SubResource = "scale" }, false},
		"MainResource":   {"Nor a subresource its resource.", func(r *req) { exec(r); r.SubResource = "" }, false},
		"OtherSub":       {"exec is not attach.", func(r *req) { exec(r); r.SubResource = "attach" }, false},
		"OtherGroup":     {"Another group of the same name.", func(r *req) { r.Resource.Group = "apps.example.com" }, false},
		"Converted": {"It was asked for something else.", func(r *req) {
			r.RequestResource = &metav1.GroupVersionResource{Group: "extensions", Version: "v1", Resource: "deployments"}
		}, false},
		"ConvertedSub":    {"As a subresource.", func(r *req) { g := r.Resource; r.RequestResource, r.RequestSubResource = &g, "scale" }, false},
		"Namespace":       {"A namespace that it lacks.", func(r *req) { r.Namespace = "shop-test" }, false},
		"ClusterScoped":   {"A grant of namespaces says nothing of what is in none.", func(r *req) { r.Namespace = "" }, false},
		"Name":            {"A name that it lacks.", func(r *req) { r.Name = "webshop" }, false},
		"NoName":          {"No name fits no pattern.", func(r *req) { r.Name = "" }, false},
		"NameMismatch":    {"Two names for one object.", func(r *req) { r.Object.Raw = []byte(`{"metadata":{"name":"api"}}`) }, false},
		"UnreadableName":  {"No telling what it is.", func(r *req) { r.Object.Raw = []byte(`{"metadata":7}`) }, false},
		"PatternAsPrefix": {"web-* is not web itself, for Pods.", func(r *req) { exec(r); r.Name = "we" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			g := s.take()
			got, ok := s.book.Covers(t.Context(), request(tc.change))
			if ok != tc.want || ok && got != g.Name || !ok && got != "" {
				t.Errorf("%s\nCovers() = %q, %t, want %t", tc.reason, got, ok, tc.want)
			}
		})
	}
}

func TestCoversAnyName(t *testing.T) {
	s := newSite(t)
	s.take(func(g *v1alpha1.BreakGlassGrant) { g.Names = []string{"*"} })
	for name, tc := range map[string]struct {
		change func(*req)
		want   bool
	}{
		"Any":      {func(r *req) { r.Name = "api" }, true},
		"None":     {func(r *req) { r.Name = "" }, false},
		"Two":      {func(r *req) { r.Object.Raw = []byte(`{"metadata":{"name":"api"}}`) }, false},
		"Unnamed":  {func(r *req) { r.Name = ""; r.Object.Raw = []byte(`{"metadata":{}}`) }, false},
		"Readable": {func(r *req) { r.Object.Raw = []byte(`[]`) }, false},
	} {
		if got := s.covers(request(tc.change)); got != tc.want {
			t.Errorf("%s: a grant for any name covers: %t, want %t", name, got, tc.want)
		}
	}
}

func TestCoversDeleteCollection(t *testing.T) {
	s := newSite(t)
	s.take(func(g *v1alpha1.BreakGlassGrant) { g.Verbs = []string{"delete"} })
	for name, want := range map[string]bool{"web": true, "web-1": true, "api": false} {
		item := request(func(r *req) {
			r.Operation, r.Name = admissionv1.Delete, ""
			r.OldObject = runtime.RawExtension{Raw: []byte(`{"metadata":{"name":"` + name + `"}}`)}
		})
		if got := s.covers(item); got != want {
			t.Errorf("one request of a deletecollection, for %s, is covered: %t, want %t", name, got, want)
		}
	}
}

func TestCoversNamespaces(t *testing.T) {
	s := newSite(t)
	s.take(func(g *v1alpha1.BreakGlassGrant) {
		g.Resources, g.Namespaces, g.Names = []v1alpha1.BreakGlassResource{{Resource: "namespaces"}}, nil, []string{"shop", testSystem}
	})
	for name, want := range map[string]bool{"shop": true, "prod": false, testSystem: false} {
		update := request(func(r *req) {
			r.Resource, r.Name, r.Namespace = metav1.GroupVersionResource{Version: "v1", Resource: "namespaces"}, name, name
		})
		if got := s.covers(update); got != want {
			t.Errorf("an update of the Namespace %s is covered: %t, want %t", name, got, want)
		}
	}
}

// TestCoversOnlyInside draws requests and grants from small pools, so that many
// nearly fit, and compares with the definition: every dimension holds on its own.
func TestCoversOnlyInside(t *testing.T) {
	s := newSite(t)
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(pool []string) string { return pool[random.IntN(len(pool))] }
	some := func(pool []string) []string {
		out := slices.DeleteFunc(slices.Clone(pool), func(string) bool { return random.IntN(2) == 0 })
		return append(out, pool[len(out)%len(pool)])[:max(1, len(out))]
	}
	users, groups := []string{"oscar", "nina", "oscar-2"}, []string{"oncall", "dev"}
	resources := []string{"deployments.apps", "deployments.apps/scale", "pods", "pods/exec"}
	namespaces, names := []string{"shop", "prod", "default"}, []string{"web", "web-1", "api", "we"}
	covered := 0
	for range 60 {
		g := s.take(func(g *v1alpha1.BreakGlassGrant) {
			g.Users, g.Groups, g.Verbs = some(users), some(groups)[:random.IntN(2)], some(breakglass.Verbs)
			g.Namespaces, g.Names, g.Resources = some(namespaces), some([]string{"web", "web-*", "ap*"}), nil
			for _, r := range some(resources) {
				g.Resources = append(g.Resources, breakglass.ParseResource(r))
			}
		}).Spec.Grant
		for range 300 {
			user, group, verb, resource := pick(users), pick(groups), pick(breakglass.Verbs), pick(resources)
			namespace, name := pick(append(namespaces, "")), pick(names)
			in := breakglass.ParseResource(resource)
			want := (slices.Contains(g.Users, user) || slices.Contains(g.Groups, group)) && slices.Contains(g.Verbs, verb) &&
				slices.Contains(g.Resources, in) && slices.Contains(g.Namespaces, namespace) &&
				(slices.Contains(g.Names, name) || slices.Contains(g.Names, "web-*") && strings.HasPrefix(name, "web-") ||
					slices.Contains(g.Names, "ap*") && strings.HasPrefix(name, "ap"))
			got := s.covers(request(func(r *req) {
				main, sub, _ := strings.Cut(in.Resource, "/")
				r.UserInfo.Username, r.UserInfo.Groups, r.Namespace, r.Name = user, []string{group}, namespace, name
				r.Operation, r.SubResource = admissionv1.Operation(strings.ToUpper(verb)), sub
				r.Resource = metav1.GroupVersionResource{Group: in.Group, Version: "v1", Resource: main}
			}))
			if got != want {
				t.Fatalf("%s %s %s/%s by %s of %s is covered: %t, want %t, by\n%+v", verb, resource, namespace, name, user, group, got, want, g)
			}
			if got {
				covered++
			}
		}
		s.restart()
	}
	if covered < 100 {
		t.Errorf("only %d requests were covered: the pools do not meet", covered)
	}
}

func TestCoversNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		do     func(*site)
	}{
		"Empty":       {"No grant.", func(s *site) { s.restart() }},
		"NotSynced":   {"A revocation may be on its way.", func(s *site) { s.book.SetSynced(false) }},
		"TrustGone":   {"Nobody vouches for it any more.", func(s *site) { s.book.DropTrust("production") }},
		"SignerGone":  {"One of two signers left.", func(s *site) { s.trust.Spec.BreakGlass.AllowedSigners = s.bob.AllowedSigner(); s.setTrust() }},
		"MoreSigners": {"Three are needed now.", func(s *site) { three := int32(3); s.trust.Spec.BreakGlass.Threshold = &three; s.setTrust() }},
		"BrokenTrust": {"Who knows what the line would limit.", func(s *site) { s.trust.Spec.BreakGlass.AllowedSigners += "x\n"; _ = s.book.SetTrust(s.trust) }},
		"NoThreshold": {"Nobody would have to sign.", func(s *site) {
			none := int32(0)
			s.trust.Spec.BreakGlass.Threshold = &none
			_ = s.book.SetTrust(s.trust)
		}},
		"TrustSilent":    {"The policy says nothing of grants.", func(s *site) { s.trust.Spec.BreakGlass = nil; _ = s.book.SetTrust(s.trust) }},
		"TrustElsewhere": {"It opens other namespaces.", func(s *site) { s.trust.Spec.BreakGlass.Namespaces = []string{"shop", "test"}; s.setTrust() }},
		"Deleted":        {"Its object is gone.", func(s *site) { s.book.Drop(s.book.List()[0].Name) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.take()
			if !s.covers(request()) {
				t.Fatal("the grant covers nothing before")
			}
			tc.do(s)
			if s.covers(request()) {
				t.Errorf("%s\nThe grant covers still.", tc.reason)
			}
		})
	}
	s := newSite(t)
	if s.covers(nil) {
		t.Error("no request is covered")
	}
}

func TestTrustComesLater(t *testing.T) {
	s := newSite(t)
	s.book.DropTrust("production")
	if err := s.book.Set(s.sign(grant(), s.alice, s.bob)); err == nil || !strings.Contains(err.Error(), "no TrustPolicy production") {
		t.Errorf("Set() = %v, want that the trust is missing", err)
	}
	s.setTrust()
	if !s.covers(request()) {
		t.Error("the grant does not count once its TrustPolicy is there")
	}
}

func TestTrustNamespaces(t *testing.T) {
	cluster := func(g *v1alpha1.BreakGlassGrant) {
		g.Namespaces, g.Resources = nil, []v1alpha1.BreakGlassResource{{Group: "storage.k8s.io", Resource: "storageclasses"}}
	}
	shop := func(g *v1alpha1.BreakGlassGrant) { g.Namespaces = []string{"shop"} }
	for name, tc := range map[string]struct {
		reason     string
		own, opens []string // spec.namespaces, spec.breakGlass.namespaces
		change     func(*v1alpha1.BreakGlassGrant)
		want       bool
	}{
		"Named":         {"It is on the list.", nil, []string{"shop"}, shop, true},
		"Default":       {"Where the policy may be used.", []string{"shop"}, nil, shop, true},
		"Everywhere":    {"All namespaces.", nil, []string{"*"}, shop, true},
		"ClusterScoped": {"All, and what is in none.", nil, []string{"*"}, cluster, true},
		"Other":         {"It is not on the list.", []string{"shop"}, []string{"prod"}, shop, false},
		"NoCluster":     {"What is in no namespace needs *.", nil, []string{"shop"}, cluster, false},
		"StarElsewhere": {"A * among spec.namespaces opens nothing.", []string{"*"}, nil, shop, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.trust.Spec.Namespaces, s.trust.Spec.BreakGlass.Namespaces = tc.own, tc.opens
			s.setTrust()
			if err := s.book.Set(s.sign(grant(tc.change), s.alice, s.bob)); (err == nil) != tc.want {
				t.Errorf("%s\nSet() = %v, want it to count: %t", tc.reason, err, tc.want)
			}
		})
	}
}

func TestUsedOnce(t *testing.T) {
	s := newSite(t)
	g := s.take()
	r := request()
	for range 3 { // two webhooks and a reinvocation
		if !s.covers(r) {
			t.Fatal("the same request is not covered again")
		}
	}
	if !s.covers(request(func(r *req) {
		r.Operation, r.SubResource, r.Name, r.Namespace = admissionv1.Connect, "exec", "web-1", "prod"
		r.Resource = metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
	})) {
		t.Fatal("another request is not covered")
	}
	s.covers(request(func(r *req) { r.Name = "api" }))
	want := []breakglass.Use{
		{Grant: g.Name, Reason: "checkout is down, INC-17", Expiry: g.Spec.Grant.Expiry.Time, UID: r.UID, User: "oscar",
			Operation: "UPDATE", Resource: "deployments.apps", Namespace: "shop", Name: "web"},
		{Grant: g.Name, Reason: "checkout is down, INC-17", Expiry: g.Spec.Grant.Expiry.Time, User: "oscar",
			Operation: "CONNECT", Resource: "pods/exec", Namespace: "prod", Name: "web-1"},
	}
	if diff := cmp.Diff(want, s.used, cmpopts.IgnoreFields(breakglass.Use{}, "UID")); diff != "" {
		t.Errorf("uses reported (-want +got):\n%s", diff)
	}
}
