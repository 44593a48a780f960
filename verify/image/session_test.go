package image_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/image"
)

func TestSessionSharesWork(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	key := registry.MustKey(t, registry.ECDSAP256)
	img := reg.MustPushImage(t, "acme/app:latest")
	must(t, reg.SignTag(img, key))
	var refs []string
	for range 30 {
		refs = append(refs, img.Name, strings.TrimSuffix(img.Name, ":latest"))
	}
	for i, r := range newVerifier(t, config(key)).NewSession().VerifyAll(background(t), refs) {
		if r.Err != nil || r.Evidence.Pinned() != refs[i]+"@"+img.Digest {
			t.Fatalf("%s: %s, %v", refs[i], r.Evidence.Pinned(), r.Err)
		}
	}
	if n := reg.Count("/manifests/"); n != 2 { // the image and its signatures
		t.Errorf("%d manifests were read for one image", n)
	}
}

func TestParallelIsBounded(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	var now, most atomic.Int64
	reg.Inject(registry.Fault{Path: "/manifests/", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer now.Add(-1)
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(5 * time.Millisecond) // lets the others come
		http.NotFound(w, nil)
	})})
	c := config(registry.MustKey(t, registry.ECDSAP256))
	c.Limits.Parallel = 3
	v := newVerifier(t, c)
	done := make(chan []image.Result)
	for _, s := range []*image.Session{v.NewSession(), v.NewSession()} {
		go func() {
			var refs []string
			for _, tag := range strings.Split("abcdefghijklmnop", "") {
				refs = append(refs, reg.Name("acme/app:"+tag))
			}
			done <- s.VerifyAll(background(t), refs)
		}()
	}
	<-done
	<-done
	if m := most.Load(); m < 1 || m > 3 {
		t.Errorf("%d images at once, want 3 at most", m)
	}
}

// A caller that gives up says nothing about the image to the next one.
func TestCancelledCallerDoesNotDecide(t *testing.T) {
	reg := registry.New(t, registry.Options{})
	key := registry.MustKey(t, registry.ECDSAP256)
	img := reg.MustPushImage(t, "acme/app:1")
	must(t, reg.SignTag(img, key))
	s := newVerifier(t, config(key)).NewSession()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Verify(ctx, img.Name); err == nil || !err.(*image.Error).Undetermined {
		t.Fatalf("error %v, want an undetermined one", err)
	}
	if _, err := s.Verify(background(t), img.Name); err != nil {
		t.Errorf("after a cancelled call: %v", err)
	}
}
