package reconcile

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"

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

// prune removes the clones of repositories to which no GitSync has referred for
// long. Without a list of all GitSyncs nothing is removed.
func (s *Sources) prune(ctx context.Context, c client.Reader, now time.Time) (removed []string, err error) {
	var all v1alpha1.GitSyncList
	if err := c.List(ctx, &all); err != nil {
		return nil, err
	}
	urls := make([]string, len(all.Items)) // suspended ones too: they go on from there
	for i, sync := range all.Items {
		urls[i] = sync.Spec.URL
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
			log.Info("Clone removed, no GitSync uses it", "url", url)
		}
		if err != nil && ctx.Err() == nil {
			log.Error(err, "Clones that no GitSync uses could not be removed")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
