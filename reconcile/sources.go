package reconcile

import (
	"context"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/source"
)

const (
	// unusedFor is how long a clone stays that no GitSync refers to: one that is
	// deleted and made anew finds its history again.
	unusedFor  = 24 * time.Hour
	pruneEvery = time.Hour
)

// Sources opens repositories from one directory of clones.
type Sources struct {
	cache        *source.Cache
	loopbackHTTP bool
}

// NewSources opens the directory of clones. With loopbackHTTP, plain HTTP to
// this machine is allowed.
func NewSources(dir string, loopbackHTTP bool) (*Sources, error) {
	cache, err := source.Open(dir)
	if err != nil {
		return nil, err
	}
	return &Sources{cache: cache, loopbackHTTP: loopbackHTTP}, nil
}

// open returns a repository for the credentials of a Secret; nil for none.
func (s *Sources) open(url, branch string, credentials map[string][]byte, timeout time.Duration) (*source.Repository, error) {
	options := source.Options{URL: url, Branch: branch, Timeout: timeout, AllowInsecureLoopback: s.loopbackHTTP}
	if credentials != nil {
		auth, err := source.AuthFromSecret(url, credentials)
		if err != nil {
			return nil, err
		}
		options.Auth = auth
	}
	return s.cache.Repository(options)
}

// A location is a branch of a repository and the Secret with the credentials for it.
type location struct {
	url, branch      string
	timeout          time.Duration
	field, namespace string // of secret
	secret           *v1alpha1.LocalReference
}

// reopen returns the repository at a location and what it was opened with: the one
// that is open already, unless something changed.
func (s *Sources) reopen(ctx context.Context, direct client.Reader, at location, open *source.Repository, with string) (*source.Repository, string, error) {
	r := resolver{direct: direct, versions: []string{at.url, at.branch, at.timeout.String()}}
	var credentials map[string][]byte
	if at.secret != nil {
		var err error
		if credentials, err = r.secret(ctx, at.field, at.namespace, at.secret.Name); err != nil {
			return open, with, err
		}
	}
	access := strings.Join(r.versions, "\n")
	if open != nil && with == access {
		return open, with, nil
	}
	repo, err := s.open(at.url, at.branch, credentials, at.timeout)
	if err != nil {
		return open, with, specErrorf(verdict.SourceUnavailable, "%v", err)
	}
	if open != nil {
		open.Close()
	}
	return repo, access, nil
}

// recorded opens what earlier fetches of a repository brought, without credentials:
// it never asks the remote.
func (s *Sources) recorded(url, branch string) (*source.Repository, error) {
	return s.cache.Repository(source.Options{URL: url, Branch: branch, Offline: true, AllowInsecureLoopback: s.loopbackHTTP})
}

// prune removes the clones of repositories to which neither GitSync nor PolicySet has
// referred for long. Without a list of all of them nothing is removed.
func (s *Sources) prune(ctx context.Context, c client.Reader, now time.Time) (removed []string, err error) {
	var all v1alpha1.GitSyncList
	if err := c.List(ctx, &all); err != nil {
		return nil, err
	}
	urls := make([]string, len(all.Items)) // suspended ones too: they go on from there
	for i, sync := range all.Items {
		urls[i] = sync.Spec.URL
	}
	var sets v1alpha1.PolicySetList
	if err := c.List(ctx, &sets); err != nil {
		return nil, err
	}
	for _, set := range sets.Items {
		if g := set.Spec.Source.Git; g != nil {
			urls = append(urls, g.URL)
		}
	}
	return s.cache.Prune(urls, unusedFor, now)
}

// runPrune prunes the clones at the start and from time to time.
func (r *Reconciler) runPrune(ctx context.Context) error {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	log := logr.FromContextOrDiscard(ctx)
	for {
		removed, err := r.Sources.prune(ctx, r.Client, time.Now())
		for _, url := range removed {
			log.Info("Clone removed, no GitSync and no PolicySet uses it", "url", url)
		}
		if err != nil && ctx.Err() == nil {
			log.Error(err, "Clones that nobody uses could not be removed")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
