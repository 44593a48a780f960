package lab

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// An App is a repository of its own with the GitSync that applies it, in a lab
// that several share.
type App struct {
	*Lab
	Name      string
	Repo      *gitrepo.Repo
	Root      string
	Namespace string // what it applies into
	Key       client.ObjectKey
}

// NewApp makes a repository, a namespace and a TrustPolicy of one name, and the
// GitSync in gitgate's own namespace, which edit may change before it is created.
func (l *Lab) NewApp(ctx context.Context, name string, edit ...func(*v1alpha1.TrustPolicy, *v1alpha1.GitSync)) (*App, error) {
	a := &App{Lab: l, Name: name, Namespace: name, Key: client.ObjectKey{Namespace: SystemNamespace, Name: name}}
	dir, err := l.Git.CreateRepo(name + ".git")
	if err != nil {
		return nil, err
	}
	if a.Repo, err = gitrepo.InitBare(dir); err != nil {
		return nil, err
	}
	root, err := a.Commit(gitrepo.Change{Files: map[string]string{"README.md": "# " + name + "\n"}, Message: "start of history"})
	if err != nil {
		return nil, err
	}
	a.Root = root.String()
	if err := l.EnsureNamespace(ctx, name); err != nil {
		return nil, err
	}
	trust, sync := l.TrustPolicy(), l.GitSync()
	trust.Name = name
	trust.Spec.Repositories = []v1alpha1.TrustedRepository{{URL: a.URL(), Refs: []string{Branch}, Root: a.Root}}
	sync.Name, sync.Spec.URL, sync.Spec.Trust.Name, sync.Spec.TargetNamespace = name, a.URL(), name, name
	for _, e := range edit {
		e(trust, sync)
	}
	a.Key = client.ObjectKeyFromObject(sync)
	if err := l.Client.Create(ctx, trust); err != nil {
		return nil, err
	}
	return a, l.Client.Create(ctx, sync)
}

// URL is where gitgate finds the repository.
func (a *App) URL() string { return a.Git.URL(a.Name + ".git") }

// Commit commits as [Lab.Commit] does, into the app's repository.
func (a *App) Commit(c gitrepo.Change) (plumbing.Hash, error) {
	return a.Repo.Commit(a.signed(c))
}

// Reset sets the branch back, as a force-push does.
func (a *App) Reset(h plumbing.Hash) error { return a.Repo.SetRef("refs/heads/"+Branch, h) }

// Accepted waits until a commit is applied and the GitSync Ready.
func (a *App) Accepted(ctx context.Context, h plumbing.Hash) (*v1alpha1.GitSync, error) {
	if err := a.Poke(ctx, a.Key); err != nil {
		return nil, err
	}
	return a.Await(ctx, a.Key, func(s *v1alpha1.GitSync) bool {
		return strings.HasSuffix(s.Status.LastAppliedRevision, h.String()) && Ready(s).Status == metav1.ConditionTrue
	})
}

// Refused waits until a commit was judged and refused.
func (a *App) Refused(ctx context.Context, h plumbing.Hash) (*v1alpha1.GitSync, error) {
	if err := a.Poke(ctx, a.Key); err != nil {
		return nil, err
	}
	return a.Await(ctx, a.Key, func(s *v1alpha1.GitSync) bool {
		v := s.Status.LastVerdict
		return v != nil && strings.HasSuffix(v.Revision, h.String()) && !v.Allowed && Ready(s).Status == metav1.ConditionFalse
	})
}

// Update changes the GitSync.
func (a *App) Update(ctx context.Context, edit func(*v1alpha1.GitSync)) error {
	for range 10 {
		var s v1alpha1.GitSync
		if err := a.Client.Get(ctx, a.Key, &s); err != nil {
			return err
		}
		before := s.DeepCopy()
		edit(&s)
		err := a.Client.Patch(ctx, &s, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		if err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("GitSync %s could not be changed", a.Key)
}
