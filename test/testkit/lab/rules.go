package lab

import (
	"context"
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// Rules are a repository of policies, the TrustPolicy that judges it and the
// PolicySet that takes its rules from there, all of one name.
type Rules struct {
	*Lab
	Name string
	Repo *gitrepo.Repo
}

// NewRules makes a repository with policies and what belongs to it, which edit may
// change before it is created. Alice may change everything, Bob all but policies.
func (l *Lab) NewRules(ctx context.Context, name string, files map[string]string, edit ...func(*v1alpha1.TrustPolicy, *v1alpha1.PolicySet)) (*Rules, error) {
	r := &Rules{Lab: l, Name: name}
	dir, err := l.Git.CreateRepo(name + ".git")
	if err != nil {
		return nil, err
	}
	if r.Repo, err = gitrepo.InitBare(dir); err != nil {
		return nil, err
	}
	root, err := r.Commit(gitrepo.Change{Files: map[string]string{"README.md": "# " + name + "\n"}, Message: "start of history"})
	if err != nil {
		return nil, err
	}
	if _, err := r.Commit(gitrepo.Change{Files: files, Message: "first rules"}); err != nil {
		return nil, err
	}
	trust, set := l.TrustPolicy(), l.GitPolicySet(name, l.Git.URL(name+".git"), name)
	trust.Name = name
	trust.Spec.Repositories = []v1alpha1.TrustedRepository{{URL: l.Git.URL(name + ".git"), Refs: []string{Branch}, Root: root.String()}}
	trust.Spec.Commits.Rules = append(trust.Spec.Commits.Rules, v1alpha1.PathRule{Paths: []string{"policies/**"}, Signers: []string{"alice"}})
	for _, e := range edit {
		e(trust, set)
	}
	if err := l.Client.Create(ctx, trust); err != nil {
		return nil, err
	}
	return r, l.Client.Create(ctx, set)
}

// GitPolicySet takes its rules from the directory policies of a repository.
func (l *Lab) GitPolicySet(name, url, trust string) *v1alpha1.PolicySet {
	return &v1alpha1.PolicySet{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.PolicySetSpec{Source: v1alpha1.PolicySource{Git: &v1alpha1.GitPolicySource{
			URL: url, Ref: v1alpha1.GitRef{Branch: Branch}, Path: "policies", Trust: v1alpha1.LocalReference{Name: trust},
			Interval: &metav1.Duration{Duration: 5 * time.Second}, SecretRef: &v1alpha1.LocalReference{Name: GitSecret},
		}}},
	}
}

// Commit commits to the repository of policies, by Alice unless the change says
// otherwise.
func (r *Rules) Commit(c gitrepo.Change) (plumbing.Hash, error) { return r.Repo.Commit(r.signed(c)) }

// AwaitSet returns a PolicySet once the condition holds, asking for a look at its
// source.
func (l *Lab) AwaitSet(ctx context.Context, name string, holds func(*v1alpha1.PolicySet) bool) (*v1alpha1.PolicySet, error) {
	var s v1alpha1.PolicySet
	key := client.ObjectKey{Name: name}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RequestedAtAnnotation, time.Now().Format(time.RFC3339Nano))
	if err := l.Client.Patch(ctx, &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: name}}, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		return nil, err
	}
	err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		if err := l.Client.Get(ctx, key, &s); err != nil {
			return false, client.IgnoreNotFound(err)
		}
		return holds(&s), nil
	})
	if err != nil {
		return &s, fmt.Errorf("waiting for PolicySet %s: %w; its status is %+v", name, err, s.Status)
	}
	return &s, nil
}

// SetCondition is a condition of a PolicySet.
func SetCondition(s *v1alpha1.PolicySet, kind string) metav1.Condition {
	if c := apimeta.FindStatusCondition(s.Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}
