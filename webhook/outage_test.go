package webhook_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/webhook"
	"gitgate.dev/gitgate/webhook/certs"
	"gitgate.dev/gitgate/webhook/lock"
)

// flood makes n writes at once and returns how many of them passed. Clients do
// not try again.
func (r *rig) flood(ctx context.Context, prefix string, n int) (passed int64) {
	var wg sync.WaitGroup
	var ok atomic.Int64
	for i := range n {
		wg.Go(func() {
			body := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%s-%d"}}`, prefix, i)
			err := r.alice.CoreV1().RESTClient().Post().Namespace("default").Resource("configmaps").MaxRetries(0).
				SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Error()
			if err == nil {
				ok.Add(1)
			}
		})
	}
	wg.Wait()
	return ok.Load()
}

// stored counts the ConfigMaps of the namespace default in etcd.
func (r *rig) stored(t *testing.T) int {
	t.Helper()
	keys, err := r.cluster.EtcdKeys(t.Context(), "/registry/configmaps/default/")
	must(t, err)
	return len(keys)
}

// TestAttack_K22 floods a webhook that is stalled, dead, and well again: nothing
// lands unjudged, and it recovers without help.
func TestAttack_K22(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{webhook: func(c *webhook.Config) { c.Limits.InFlight = 8 }})
	before := r.stored(t)

	release := make(chan struct{})
	r.decider.set(forConfigMaps(func(ctx context.Context, _ *admissionv1.AdmissionRequest) lock.Answer {
		<-release // whatever ctx says: a decider that hangs for good
		return lock.Answer{Allowed: true}
	}))
	start := time.Now()
	if n := r.flood(t.Context(), "stalled", 500); n != 0 {
		t.Errorf("K22/Stalled: %d of 500 writes passed", n)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("K22/Stalled: 500 writes took %s to be refused", took)
	}
	if n := r.stored(t); n != before {
		t.Errorf("K22/Stalled: %d objects landed", n-before)
	}
	close(release)
	r.decider.set(allow)
	eventually(t, "recovery from the stall", func(ctx context.Context) bool {
		return r.flood(ctx, fmt.Sprint("well-", time.Now().UnixNano()), 1) == 1
	})

	before = r.stored(t)
	r.kill()
	if n := r.flood(t.Context(), "dead", 500); n != 0 || r.stored(t) != before {
		t.Errorf("K22/Dead: %d of 500 writes passed, %d landed", n, r.stored(t)-before)
	}
	r.revive()
	eventually(t, "recovery from death", func(ctx context.Context) bool {
		return r.flood(ctx, fmt.Sprint("again-", time.Now().UnixNano()), 1) == 1
	})

	// A healthy one takes the flood. What a busy machine puts off is asked again.
	before = r.stored(t)
	eventually(t, "500 writes", func(ctx context.Context) bool {
		r.flood(ctx, "healthy", 500)
		return r.stored(t) == before+500
	})
}

// TestRotation rotates authority and certificate again and again under load.
// Every write must pass: a handshake that fails would refuse one.
func TestRotation(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{certs: func(c *certs.Config) {
		c.CALifetime, c.LeafLifetime, c.Overlap = 40*time.Second, 20*time.Second, 6*time.Second
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 32*time.Second)
	defer cancel()
	seen, leaves := map[string]bool{}, map[string]bool{}
	for i := 0; ctx.Err() == nil; i++ {
		if n := r.flood(t.Context(), fmt.Sprintf("load-%d", i), 20); n != 20 {
			t.Fatalf("%d of 20 writes passed during a rotation", n)
		}
		seen[string(r.certs.Bundle())] = true
		leaves[string(r.certs.Certificate().Certificate[0])] = true
	}
	if len(seen) < 5 || len(leaves) < 5 {
		t.Errorf("%d bundles and %d certificates: nothing was rotated", len(seen), len(leaves))
	}
	if err := r.cluster.RestartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "writes after the API server has shaken hands anew", func(ctx context.Context) bool {
		_, err := r.alice.CoreV1().ConfigMaps("default").Create(ctx, configMap("fresh"), metav1.CreateOptions{})
		return err == nil
	})
}
