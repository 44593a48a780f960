package reconcile

import (
	"time"

	"gitgate.dev/gitgate/reconcile/source"
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
