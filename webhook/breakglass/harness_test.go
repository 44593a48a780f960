package breakglass_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/verify/commit"
	"gitgate.dev/gitgate/webhook/breakglass"
)

const (
	testCluster = "6f0d0f3e-9f8c-4b1c-8d5e-1c2f3a4b5c6d"
	testSystem  = "gitgate-system"
)

// noon is when the grants of these tests begin.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// signers is the verifier of verify/commit, as cmd wires it.
type signers struct{ *commit.SSHSigners }

func (s signers) Verify(armored string, message []byte) (breakglass.Signature, error) {
	sig, err := s.SSHSigners.Verify(armored, message)
	if err != nil {
		return breakglass.Signature{}, err
	}
	return breakglass.Signature{Key: sig.Fingerprint, Principals: sig.Principals, ValidAt: sig.ValidAt}, nil
}

func readSigners(lines string) (breakglass.Verifier, error) {
	s, err := commit.NewSSHSigners("allowedSigners", lines, breakglass.Namespace)
	if err != nil {
		return nil, err
	}
	return signers{s}, nil
}

// A site is a Book with trust in alice, bob and carol, two of whom must sign.
type site struct {
	t                         testing.TB
	book                      *breakglass.Book
	now                       time.Time
	alice, bob, carol, nobody *gitrepo.SSHKey
	trust                     *v1alpha1.TrustPolicy
	used                      []breakglass.Use
	changed                   []breakglass.State
}

func newSite(t testing.TB) *site {
	t.Helper()
	key := func(name string) *gitrepo.SSHKey {
		return gitrepo.SSH(t, name, name+"@example.com", "").Namespace(breakglass.Namespace)
	}
	s := &site{t: t, now: noon, alice: key("alice"), bob: key("bob"), carol: key("carol"), nobody: key("nobody")}
	s.trust = &v1alpha1.TrustPolicy{ObjectMeta: metav1.ObjectMeta{Name: "production"}, Spec: v1alpha1.TrustPolicySpec{
		Namespaces: []string{"gitgate-system"},
		BreakGlass: &v1alpha1.BreakGlassTrust{
			AllowedSigners: s.alice.AllowedSigner() + s.bob.AllowedSigner() + s.carol.AllowedSigner(), Namespaces: []string{"*"},
		},
	}}
	s.restart()
	return s
}

// restart makes a Book anew, which knows the trust and no grant.
func (s *site) restart() {
	s.t.Helper()
	book, err := breakglass.NewBook(breakglass.Config{
		Cluster: testCluster, System: testSystem, Signers: readSigners,
		Now:     func() time.Time { return s.now },
		Used:    func(_ context.Context, u breakglass.Use) { s.used = append(s.used, u) },
		Changed: func(st breakglass.State) { s.changed = append(s.changed, st) },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.book = book
	s.setTrust()
	book.SetSynced(true)
}

func (s *site) setTrust() {
	s.t.Helper()
	if err := s.book.SetTrust(s.trust); err != nil {
		s.t.Fatal(err)
	}
}

// grant is one for oscar, to update the Deployments web and exec into its Pods.
func grant(changes ...func(*v1alpha1.BreakGlassGrant)) *v1alpha1.BreakGlass {
	g := &v1alpha1.BreakGlass{Spec: v1alpha1.BreakGlassSpec{Grant: v1alpha1.BreakGlassGrant{
		Cluster: testCluster, Trust: "production", Users: []string{"oscar"}, Groups: []string{"oncall"},
		Verbs: []string{"update", "connect"}, Namespaces: []string{"shop", "prod"}, Names: []string{"web", "web-*"},
		Resources: []v1alpha1.BreakGlassResource{{Group: "apps", Resource: "deployments"}, {Resource: "pods/exec"}},
		Reason:    "checkout is down, INC-17",
		NotBefore: metav1.NewTime(noon), Expiry: metav1.NewTime(noon.Add(time.Hour)),
		Nonce: "0123456789abcdef0123456789abcdef",
	}}}
	for _, change := range changes {
		change(&g.Spec.Grant)
	}
	return g
}

// sign names the grant and signs it.
func (s *site) sign(g *v1alpha1.BreakGlass, keys ...*gitrepo.SSHKey) *v1alpha1.BreakGlass {
	s.t.Helper()
	payload, err := breakglass.Payload(&g.Spec.Grant)
	if err != nil {
		s.t.Fatal(err)
	}
	g.Name = breakglass.Name(payload)
	for _, k := range keys {
		armored, err := k.Sign(payload)
		if err != nil {
			s.t.Fatal(err)
		}
		g.Spec.Signatures = append(g.Spec.Signatures, v1alpha1.BreakGlassSignature{SSH: armored})
	}
	return g
}

// take signs a grant by alice and bob and puts it into the Book.
func (s *site) take(changes ...func(*v1alpha1.BreakGlassGrant)) *v1alpha1.BreakGlass {
	s.t.Helper()
	g := s.sign(grant(changes...), s.alice, s.bob)
	if err := s.book.Set(g); err != nil {
		s.t.Fatal(err)
	}
	return g
}

func (s *site) covers(req *admissionv1.AdmissionRequest) bool {
	s.t.Helper()
	_, ok := s.book.Covers(s.t.Context(), req)
	return ok
}

var requests int

// request is oscar's update of the Deployment shop/web.
func request(changes ...func(*admissionv1.AdmissionRequest)) *admissionv1.AdmissionRequest {
	requests++
	req := &admissionv1.AdmissionRequest{
		UID: types.UID(fmt.Sprintf("request-%d", requests)), Operation: admissionv1.Update,
		Resource:  metav1.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"},
		Namespace: "shop", Name: "web",
		UserInfo: authenticationv1.UserInfo{Username: "oscar", Groups: []string{"system:authenticated"}},
	}
	for _, change := range changes {
		change(req)
	}
	if req.SubResource == "" && req.Object.Raw == nil && req.OldObject.Raw == nil {
		object := runtime.RawExtension{Raw: []byte(`{"metadata":{"name":"` + req.Name + `"}}`)}
		switch req.Operation {
		case admissionv1.Delete:
			req.OldObject = object
		case admissionv1.Update:
			req.Object, req.OldObject = object, object
		default:
			req.Object = object
		}
	}
	return req
}
