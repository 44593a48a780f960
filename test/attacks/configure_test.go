package main_test

import (
	"context"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// withSigner lets somebody else sign everything too.
func withSigner(name string, key *gitrepo.OpenPGPKey) func(*site, *setup) {
	return func(_ *site, p *setup) {
		addSigner(p, v1alpha1.CommitSigner{Name: name, OpenPGP: &v1alpha1.KeySource{Data: key.Public()}})
	}
}

// withSSHSigner is withSigner for an SSH key.
func withSSHSigner(name string, key *gitrepo.SSHKey) func(*site, *setup) {
	return func(_ *site, p *setup) {
		addSigner(p, v1alpha1.CommitSigner{Name: name, SSH: &v1alpha1.SSHSigner{AllowedSigners: key.AllowedSigner()}})
	}
}

func addSigner(p *setup, signer v1alpha1.CommitSigner) {
	c := &p.trust.Spec.Commits
	c.Signers = append(c.Signers, signer)
	c.Rules[0].Signers = append(c.Rules[0].Signers, signer.Name)
}

// withPolicy adds a PolicySet of one module in package acme.
func withPolicy(rego string) func(*site, *setup) {
	return func(_ *site, p *setup) { p.policy = module(rego) }
}

func module(rego string) map[string]string {
	return map[string]string{"acme.rego": "package acme\n\n" + rego + "\n"}
}

// repoURL is where gitgate finds the repository of the site.
func (s *site) repoURL() string { return s.current().Spec.URL }

func (s *site) current() *v1alpha1.GitSync {
	s.t.Helper()
	var g v1alpha1.GitSync
	s.must(s.Client.Get(s.t.Context(), s.sync, &g))
	return &g
}

// change edits the GitSync.
func (s *site) change(edit func(*v1alpha1.GitSync)) {
	s.t.Helper()
	g := s.current()
	before := g.DeepCopy()
	edit(g)
	s.must(s.Client.Patch(s.t.Context(), g, client.MergeFrom(before)))
}

// stalls edits the GitSync for the worse and requires that gitgate refuses it for
// the reason, changes nothing, and goes on once it is put right.
func (s *site) stalls(reason verdict.Reason, edit func(*v1alpha1.GitSync)) {
	s.t.Helper()
	before := s.state()
	good := s.current()
	s.change(edit)
	got := s.attempt()
	if ready := lab.Ready(got); ready.Status != metav1.ConditionFalse || ready.Reason != string(reason) {
		s.t.Errorf("Ready is %s (%s), want False (%s): %s", ready.Status, ready.Reason, reason, ready.Message)
	} else {
		s.t.Logf("%s: %s", ready.Reason, ready.Message)
	}
	s.unchanged(before)
	s.change(func(g *v1alpha1.GitSync) { g.Spec = good.Spec })
	s.accept(gitrepo.Change{})
}

// neverApplies creates another GitSync and requires that it is refused for the
// reason, and that it takes nothing and leaves nothing.
func (s *site) neverApplies(g *v1alpha1.GitSync, reason verdict.Reason) {
	s.t.Helper()
	before := s.state()
	s.must(s.Client.Create(s.t.Context(), g))
	defer s.remove(g)
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	got, err := s.Await(ctx, client.ObjectKeyFromObject(g), func(g *v1alpha1.GitSync) bool {
		return lab.Ready(g).Status == metav1.ConditionFalse
	})
	s.must(err)
	if ready := lab.Ready(got); ready.Reason != string(reason) || got.Status.LastAppliedRevision != "" || got.Status.Inventory != nil {
		s.t.Errorf("Ready is %s (%s), want False (%s): %s\ninventory %v", ready.Status, ready.Reason, reason, ready.Message, got.Status.Inventory)
	} else {
		s.t.Logf("%s: %s", ready.Reason, ready.Message)
	}
	s.unchanged(before)
}

// remove deletes a GitSync and waits until it is gone.
func (s *site) remove(g *v1alpha1.GitSync) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), patience)
	defer cancel()
	s.must(client.IgnoreNotFound(s.Client.Delete(ctx, g)))
	for {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(g), g)
		if apierrors.IsNotFound(err) {
			return
		}
		s.must(err)
		time.Sleep(20 * time.Millisecond)
	}
}

// refusedByAPI requires that the API server itself refuses an object, for a reason
// that holds the text.
func (s *site) refusedByAPI(t *testing.T, o client.Object, says string) {
	t.Helper()
	err := s.Client.Create(t.Context(), o)
	switch {
	case err == nil:
		t.Errorf("the API server took %s", o.GetName())
		s.must(s.Client.Delete(t.Context(), o))
	case !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), says):
		t.Errorf("refused for another reason than %q: %v", says, err)
	}
}

func toUnstructured(o any) (map[string]any, error) {
	return runtime.DefaultUnstructuredConverter.ToUnstructured(o)
}
