package e2e

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// TestTakeover proves that a replica takes over from one that stops, and that a
// process which starts while the head is quarantined, or while Git is down, still
// holds the cluster to the last good release.
func TestTakeover(t *testing.T) {
	own := lab.New(t, lab.Options{Gitgate: shared.Gitgate})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // a lease has to expire, too
	defer cancel()
	serve := func(name string) *lab.Server {
		t.Helper()
		s, err := own.Serve(ctx, "--leader-elect=true", "--data-dir", filepath.Join(own.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Kill)
		return s
	}
	first, second := serve("first"), serve("second")
	raw, err := own.NewApp(ctx, "takeover")
	if err != nil {
		t.Fatal(err)
	}
	a := &app{App: raw, t: t, ctx: ctx}
	a.accepted(a.push("one", map[string]string{"a.yaml": lab.ConfigMap("a", "k", "1")}))
	if err := first.Stop(); err != nil {
		t.Errorf("stopping the leader: %v", err)
	}
	good := a.push("two", map[string]string{"a.yaml": lab.ConfigMap("a", "k", "2")})
	a.accepted(good)

	bad, err := a.Commit(gitrepo.Change{Message: "bad", Author: a.Alice.Person(), Files: map[string]string{"deploy/a.yaml": lab.ConfigMap("a", "k", "3")}})
	if err != nil {
		t.Fatal(err)
	}
	a.refused(bad)
	second.Kill()
	third := serve("second") // with the clone of its predecessor
	a.refused(bad)
	a.heldTo("2", "while the head is quarantined")

	third.Kill()
	if err := own.Git.Close(); err != nil {
		t.Fatal(err)
	}
	serve("second")
	a.await("the outage to be told", func(s *v1alpha1.GitSync) bool { return lab.Ready(s).Reason == "SourceUnavailable" })
	a.heldTo("2", "while Git is down")
}

// heldTo edits the map a and waits until it says again what Git says.
func (a *app) heldTo(want, when string) {
	a.t.Helper()
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: "a"}}
	if err := a.Client.Patch(a.ctx, m, client.RawPatch("application/merge-patch+json", []byte(`{"data":{"k":"foreign"}}`))); err != nil {
		a.t.Fatal(err)
	}
	eventually(a.t, a.ctx, "the drift to be corrected "+when, func() bool { return a.get(m, "a") == nil && m.Data["k"] == want })
}
