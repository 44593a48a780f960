package apply

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

const (
	// requestTimeout bounds one request, queueing in the server included.
	requestTimeout = 30 * time.Second
	// attempts bounds how often a request is made that fails for no fault of its own.
	attempts = 5
	// firstPause doubles with every attempt.
	firstPause = 50 * time.Millisecond
	// conflictPause doubles with every conflict.
	conflictPause = 10 * time.Millisecond
)

// clients makes and keeps one client for each identity. They share connections.
type clients struct {
	cfg   *rest.Config
	slots *slots

	mu sync.Mutex
	by map[string]*client
}

// A client makes requests under one identity.
type client struct {
	rest  rest.Interface
	slots *slots
}

// as returns the client for an identity.
func (c *clients) as(id Identity) (*client, error) {
	if !id.decided {
		return nil, errIdentity
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.by[id.user]; known != nil {
		return known, nil
	}
	cfg := rest.CopyConfig(c.cfg)
	if id.user != "" {
		cfg.Impersonate = rest.ImpersonationConfig{UserName: id.user}
	}
	r, err := rest.UnversionedRESTClientFor(cfg)
	if err != nil {
		return nil, err
	}
	made := &client{rest: r, slots: c.slots}
	c.by[id.user] = made
	return made, nil
}

// prepareConfig completes a configuration for raw requests in JSON.
func prepareConfig(in *rest.Config) *rest.Config {
	cfg := rest.CopyConfig(in)
	cfg.QPS, cfg.Burst, cfg.RateLimiter = -1, 0, nil // the server's fairness decides
	cfg.GroupVersion = &schema.GroupVersion{}
	cfg.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	cfg.ContentType, cfg.AcceptContentTypes = "application/json", "application/json"
	cfg.WarningHandler = rest.NoWarnings{} // a library does not write to stderr
	return cfg
}

// An answer is a successful response.
type answer struct {
	created bool
	body    []byte
}

func (a answer) object() (map[string]any, error) {
	var m map[string]any
	err := utiljson.Unmarshal(a.body, &m)
	return m, err
}

// apply applies a manifest by server-side apply.
func (c *client) apply(ctx context.Context, r *resource, k key, body []byte, dryRun bool) (answer, error) {
	return c.do(ctx, func() *rest.Request {
		q := c.rest.Patch(types.ApplyPatchType).AbsPath(r.path(k.namespace, k.name)...).
			Param("fieldManager", FieldManager).Param("force", "true").Param("fieldValidation", "Strict").Body(body)
		if dryRun {
			q.Param("dryRun", "All")
		}
		return q
	})
}

// merge applies a JSON merge patch.
func (c *client) merge(ctx context.Context, r *resource, k key, body []byte) (answer, error) {
	return c.do(ctx, func() *rest.Request {
		return c.rest.Patch(types.MergePatchType).AbsPath(r.path(k.namespace, k.name)...).
			Param("fieldManager", FieldManager).Body(body)
	})
}

func (c *client) get(ctx context.Context, r *resource, k key) (map[string]any, error) {
	ans, err := c.do(ctx, func() *rest.Request {
		return c.rest.Get().AbsPath(r.path(k.namespace, k.name)...)
	})
	if err != nil {
		return nil, err
	}
	return ans.object()
}

func (c *client) delete(ctx context.Context, r *resource, k key, options []byte) error {
	_, err := c.do(ctx, func() *rest.Request {
		return c.rest.Delete().AbsPath(r.path(k.namespace, k.name)...).Body(options)
	})
	return err
}

// list calls each for every object with these labels, a page at a time.
func (c *client) list(ctx context.Context, r *resource, namespace, labels string, each func(map[string]any)) error {
	next := ""
	for {
		ans, err := c.do(ctx, func() *rest.Request {
			q := c.rest.Get().AbsPath(r.path(namespace, "")...).Param("labelSelector", labels).Param("limit", "500")
			if next != "" {
				q.Param("continue", next)
			}
			return q
		})
		if err != nil {
			return err
		}
		page, err := ans.object()
		if err != nil {
			return err
		}
		items, _ := page["items"].([]any)
		for _, item := range items {
			if m, ok := item.(map[string]any); ok {
				each(m)
			}
		}
		meta, _ := page["metadata"].(map[string]any)
		if next, _ = meta["continue"].(string); next == "" {
			return nil
		}
	}
}

// do makes a request, again if it failed for reasons that pass.
func (c *client) do(ctx context.Context, request func() *rest.Request) (answer, error) {
	if err := c.slots.take(ctx); err != nil {
		return answer{}, err
	}
	defer c.slots.give()
	for pause, n := firstPause, 1; ; pause, n = 2*pause, n+1 {
		began := time.Now()
		ans, err := once(ctx, request())
		c.slots.learn(began, err == nil)
		if err == nil || n == attempts || !passing(err) {
			return ans, err
		}
		if !waited(ctx, pause) {
			return answer{}, err
		}
	}
}

// letSettle waits before the attempt that follows the nth one, which met a
// conflict: whoever changes an object often does so several times in a row. It
// fails with the cause when ctx is done.
func letSettle(ctx context.Context, n int) error {
	if !waited(ctx, conflictPause<<(n-1)) {
		return context.Cause(ctx)
	}
	return nil
}

// waited waits for d and reports whether it passed before ctx was done.
func waited(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func once(ctx context.Context, q *rest.Request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var code int
	result := q.Do(ctx).StatusCode(&code)
	if err := result.Error(); err != nil {
		return answer{}, err
	}
	body, err := result.Raw()
	return answer{created: code == http.StatusCreated, body: body}, err
}

// passing reports whether an error has to do with the moment and not with the
// request. Every request made here may be repeated.
func passing(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, errIdentity) {
		return false
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true // it did not get an answer
	}
	if malformed(status.Status()) {
		return false // answered with 500, and yet owed to the manifest
	}
	code := status.Status().Code
	return code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout
}
