package breakglass_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/breakglass"
)

func TestClockEdges(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		at     time.Duration // after the beginning
		want   bool
		phase  breakglass.Phase
	}{
		"LongBefore":  {"Not yet.", -time.Hour, false, breakglass.Pending},
		"BeforeSkew":  {"Just before clocks may differ.", -breakglass.ClockSkew - 1, false, breakglass.Pending},
		"Skew":        {"The clock of who asked may be ahead.", -breakglass.ClockSkew, true, breakglass.Active},
		"Beginning":   {"Its first moment.", 0, true, breakglass.Active},
		"LastMoment":  {"Its last.", time.Hour - 1, true, breakglass.Active},
		"Expiry":      {"No skew on this side.", time.Hour, false, breakglass.Expired},
		"LongExpired": {"A year later.", 365 * 24 * time.Hour, false, breakglass.Expired},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.now = noon.Add(tc.at)
			s.take()
			if got := s.covers(request()); got != tc.want {
				t.Errorf("%s\nCovers() = %t, want %t", tc.reason, got, tc.want)
			}
			if got := s.book.List()[0].Phase; got != tc.phase {
				t.Errorf("%s\nphase is %s, want %s", tc.reason, got, tc.phase)
			}
		})
	}
}

func TestAttack_Replay_ClockSetBack(t *testing.T) {
	s := newSite(t)
	s.take()
	s.now = noon.Add(time.Hour)
	if s.covers(request()) {
		t.Fatal("an expired grant counts")
	}
	s.now = noon.Add(time.Minute)
	if s.covers(request()) {
		t.Error("an expired grant counts again once the clock is set back")
	}
}

// review asks for a write of a grant as the webhook would.
func (s *site) review(op admissionv1.Operation, subresource string, object, old *v1alpha1.BreakGlass) error {
	s.t.Helper()
	req := &admissionv1.AdmissionRequest{Operation: op, SubResource: subresource,
		Resource: metav1.GroupVersionResource{Group: "gitgate.dev", Version: "v1alpha1", Resource: "breakglasses"}}
	for g, into := range map[*v1alpha1.BreakGlass]*runtime.RawExtension{object: &req.Object, old: &req.OldObject} {
		if g == nil {
			continue
		}
		raw, err := json.Marshal(g)
		if err != nil {
			s.t.Fatal(err)
		}
		into.Raw = raw
	}
	return s.book.Review(req)
}

func revoked(g *v1alpha1.BreakGlass) *v1alpha1.BreakGlass {
	g = g.DeepCopy()
	g.Spec.Revoked = true
	return g
}

func TestReview(t *testing.T) {
	const create, update, remove = admissionv1.Create, admissionv1.Update, admissionv1.Delete
	type grants struct{ object, old *v1alpha1.BreakGlass }
	both := func(g *v1alpha1.BreakGlass) grants { return grants{g, g.DeepCopy()} }
	for name, tc := range map[string]struct {
		reason string
		op     admissionv1.Operation
		sub    string
		at     time.Duration
		write  func(*site) grants
		want   string // empty: allowed
	}{
		"Create":         {"Two people signed it.", create, "", 0, func(s *site) grants { return grants{object: s.sign(grant(), s.alice, s.bob)} }, ""},
		"CreateEarly":    {"It begins tomorrow.", create, "", -24 * time.Hour, func(s *site) grants { return grants{object: s.sign(grant(), s.alice, s.bob)} }, ""},
		"CreateUnsigned": {"Whoever may create grants cannot make one up.", create, "", 0, func(s *site) grants { return grants{object: s.sign(grant())} }, "signed by 0 of the 2"},
		"CreateOne":      {"One of two.", create, "", 0, func(s *site) grants { return grants{object: s.sign(grant(), s.alice)} }, "signed by 1 of the 2 people that it needs: alice@example.com"},
		"CreateExpired":  {"A copy from the archive.", create, "", time.Hour, func(s *site) grants { return grants{object: s.sign(grant(), s.alice, s.bob)} }, "expired at 2026-11-22T13:00:00Z"},
		"CreateRevoked":  {"Nothing to create.", create, "", 0, func(s *site) grants { return grants{object: revoked(s.sign(grant(), s.alice, s.bob))} }, "cannot be created"},
		"CreateRenamed": {"A second copy of one grant.", create, "", 0, func(s *site) grants {
			g := s.sign(grant(), s.alice, s.bob)
			g.Name = "breakglass-000000000000000000000000"
			return grants{object: g}
		}, "must have the name breakglass-ced338d5694c38177df5f610"},
		"CreateForUs": {"Gitgate's own namespace.", create, "", 0, func(s *site) grants {
			return grants{object: s.sign(grant(func(g *v1alpha1.BreakGlassGrant) { g.Namespaces = []string{testSystem} }), s.alice, s.bob)}
		}, "no grant opens gitgate's own namespace"},
		"CreateForOurs": {"Gitgate's own identity.", create, "", 0, func(s *site) grants {
			return grants{object: s.sign(grant(func(g *v1alpha1.BreakGlassGrant) {
				g.Users = []string{"system:serviceaccount:gitgate-system:gitgate-reconciler"}
			}), s.alice, s.bob)}
		}, "is gitgate's own"},
		"Revoke": {"Whoever may update it.", update, "", 0, func(s *site) grants { g := s.take(); return grants{revoked(g), g} }, ""},
		"Annotate": {"Nothing rests on metadata.", update, "", 0, func(s *site) grants {
			g := both(s.take())
			g.object.Annotations = map[string]string{"a": "b"}
			return g
		}, ""},
		"Unrevoke": {"Never.", update, "", 0, func(s *site) grants { g := s.take(); return grants{g, revoked(g)} }, "stays revoked"},
		"Extend": {"What was signed stays.", update, "", 0, func(s *site) grants {
			g := both(s.take())
			g.object.Spec.Grant.Expiry = metav1.NewTime(noon.Add(2 * time.Hour))
			return g
		}, "cannot be changed"},
		"AddSignature": {"So do signatures.", update, "", 0, func(s *site) grants {
			g := both(s.take())
			s.sign(g.object, s.carol)
			return g
		}, "cannot be changed"},
		"Status":           {"It has none.", update, "status", 0, func(s *site) grants { return both(s.take()) }, "no subresource status"},
		"OtherSubresource": {"There is none.", update, "scale", 0, func(s *site) grants { return both(s.take()) }, "no subresource scale"},
		"Connect":          {"There is nothing to connect to.", admissionv1.Connect, "", 0, func(s *site) grants { return both(s.take()) }, "CONNECT of a break-glass grant"},
		"Delete":           {"It would be forgotten before its time.", remove, "", 0, func(s *site) grants { return grants{old: s.take()} }, "revoke it instead (gitgate breakglass revoke breakglass-ced338d5694c38177df5f610)"},
		"DeleteRevoked":    {"And come back.", remove, "", 0, func(s *site) grants { return grants{old: revoked(s.take())} }, "must be remembered until 2026-11-22T13:00:30Z"},
		"DeleteUntrusted": {"The trust may come back too.", remove, "", 0, func(s *site) grants {
			g := revoked(s.take())
			s.book.DropTrust("production")
			return grants{old: g}
		}, "must be remembered until"},
		"DeleteSkew":     {"Another replica's clock may lag.", remove, "", time.Hour + breakglass.ClockSkew - 1, func(s *site) grants { return grants{old: s.take()} }, "counts until"},
		"DeleteExpired":  {"It says itself that it is over.", remove, "", time.Hour + breakglass.ClockSkew, func(s *site) grants { return grants{old: revoked(s.take())} }, ""},
		"DeleteUnsigned": {"It never counted.", remove, "", 0, func(s *site) grants { return grants{old: s.sign(grant(), s.alice)} }, ""},
		"DeleteComeback": {"It was made anew after its revocation.", remove, "", 0, func(s *site) grants {
			g := s.take()
			_ = s.book.Set(revoked(g))
			s.book.Drop(g.Name)
			_ = s.book.Set(g)
			return grants{old: g}
		}, "must be remembered until"},
		"DeleteForeign": {"It is another cluster's.", remove, "", 0, func(s *site) grants {
			return grants{old: revoked(s.sign(grant(func(g *v1alpha1.BreakGlassGrant) { g.Cluster = "another" }), s.alice, s.bob))}
		}, ""},
		"DeleteInvalid": {"It says nothing.", remove, "", 0, func(*site) grants { return grants{old: &v1alpha1.BreakGlass{}} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.now = noon.Add(tc.at)
			w := tc.write(s)
			err := s.review(tc.op, tc.sub, w.object, w.old)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s\nReview() = %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestReviewRefusesWhatItCannotRead(t *testing.T) {
	s := newSite(t)
	ours := metav1.GroupVersionResource{Group: "gitgate.dev", Version: "v1alpha1", Resource: "breakglasses"}
	for name, req := range map[string]*admissionv1.AdmissionRequest{
		"Nil":        nil,
		"Other":      {Operation: admissionv1.Update, Resource: metav1.GroupVersionResource{Group: "gitgate.dev", Resource: "trustpolicies"}},
		"Unreadable": {Operation: admissionv1.Create, Resource: ours, Object: runtime.RawExtension{Raw: []byte(`{"spec":[]}`)}},
		"Empty":      {Operation: admissionv1.Create, Resource: ours},
		"Operation":  {Resource: ours},
	} {
		if err := s.book.Review(req); err == nil {
			t.Errorf("%s: Review() allows", name)
		}
	}
	s.book.SetSynced(false)
	if err := s.review(admissionv1.Create, "", s.sign(grant(), s.alice, s.bob), nil); !errors.Is(err, breakglass.ErrNotReady) {
		t.Errorf("Review() = %v before the Book is synced, want ErrNotReady", err)
	}
}

// TestAttack_Replay follows one grant through revocation and deletion while the
// webhook did not judge, as in the seconds before its configuration is restored.
func TestAttack_Replay(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		do     func(*site, *v1alpha1.BreakGlass)
	}{
		"Revoked":   {"It was taken back.", func(s *site, g *v1alpha1.BreakGlass) { _ = s.book.Set(revoked(g)) }},
		"Unrevoked": {"Somebody edits etcd.", func(s *site, g *v1alpha1.BreakGlass) { _ = s.book.Set(revoked(g)); _ = s.book.Set(g) }},
		"RevokedRecreated": {"The object was deleted and comes back as it was.", func(s *site, g *v1alpha1.BreakGlass) {
			_ = s.book.Set(revoked(g))
			s.book.Drop(g.Name)
			_ = s.book.Set(g)
		}},
		"DeletedRecreated": {"It was only deleted.", func(s *site, g *v1alpha1.BreakGlass) { s.book.Drop(g.Name); _ = s.book.Set(g) }},
		"OtherSignatures": {"The same grant, signed by others.", func(s *site, g *v1alpha1.BreakGlass) {
			_ = s.book.Set(revoked(g))
			s.book.Drop(g.Name)
			_ = s.book.Set(s.sign(grant(), s.carol, s.bob))
		}},
		"TrustFlicker": {"The trust goes and comes back.", func(s *site, g *v1alpha1.BreakGlass) {
			_ = s.book.Set(revoked(g))
			s.book.DropTrust("production")
			s.book.Drop(g.Name)
			_ = s.book.Set(g)
			s.setTrust()
		}},
		"OtherName": {"A copy beside it.", func(s *site, g *v1alpha1.BreakGlass) {
			_ = s.book.Set(revoked(g))
			g = g.DeepCopy()
			g.Name += "0"
			_ = s.book.Set(g)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			g := s.take()
			tc.do(s, g)
			if s.covers(request()) {
				t.Errorf("%s\nThe grant counts.", tc.reason)
			}
			if err := s.review(admissionv1.Create, "", g, nil); err == nil && name != "OtherName" {
				t.Errorf("%s\nIt may be created again.", tc.reason)
			}
			other := s.take(func(g *v1alpha1.BreakGlassGrant) { g.Nonce = strings.Repeat("b", 32) })
			if got, ok := s.book.Covers(t.Context(), request()); !ok || got != other.Name {
				t.Errorf("another grant does not count: %q, %t", got, ok)
			}
		})
	}
}

func TestChangedTellsWhatBecomesOfGrants(t *testing.T) {
	s := newSite(t)
	g := s.take()
	_ = s.book.Set(revoked(g))
	s.book.Drop(g.Name)
	var phases []breakglass.Phase
	for _, c := range s.changed {
		if c.Name != g.Name {
			t.Errorf("told of %s", c.Name)
		}
		phases = append(phases, c.Phase)
	}
	if len(phases) != 3 || phases[0] != breakglass.Active || phases[1] != breakglass.Revoked || phases[2] == breakglass.Active {
		t.Errorf("told of the phases %v", phases)
	}
	if got := s.changed[0]; len(got.People) != 2 || got.Threshold != 2 || got.People[0] != "alice@example.com" {
		t.Errorf("state is %+v", got)
	}
}

func TestNewBookNeedsItsConfig(t *testing.T) {
	for name, c := range map[string]breakglass.Config{
		"Cluster": {System: testSystem, Signers: readSigners},
		"System":  {Cluster: testCluster, Signers: readSigners},
		"Signers": {Cluster: testCluster, System: testSystem},
	} {
		if b, err := breakglass.NewBook(c); b != nil || !errors.Is(err, breakglass.ErrConfig) {
			t.Errorf("NewBook() = %v, %v without %s", b, err, name)
		}
	}
}
