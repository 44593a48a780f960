package lock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/gitserver"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// floodSize is how many writes are made at once.
const floodSize = 120

// TestFaults takes away replicas of the webhook, and Git: nothing lands unjudged,
// nothing legitimate is denied for good, and all recovers without help.
func TestFaults(t *testing.T) {
	in := begin(t)
	from := in.marks(t)
	in.enforcing(t)
	t.Run("OneReplicaKilled", in.oneKilled)
	t.Run("K22/BothPaused", in.bothPaused)
	t.Run("LaggingReplica", in.lagging)
	t.Run("RestartWithoutGit", in.withoutGit)
	in.asGitSays(t, in.images[0])
	in.calm(t, from)
}

// note commits a value and returns the commit.
func (in *installation) note(t *testing.T) (commit, value string) {
	t.Helper()
	in.commits++
	value = fmt.Sprint(in.commits)
	hash, err := in.app.Commit(gitrepo.Change{Files: map[string]string{"deploy/note.yaml": lab.ConfigMap("note", "value", value)}})
	must(t, "committing", err)
	return hash.String(), value
}

// delivers fails the test unless a commit goes live.
func (in *installation) delivers(t *testing.T) {
	t.Helper()
	commit, value := in.note(t)
	in.delivered(t, commit, value)
}

// delivered waits until a value is live and its commit applied.
func (in *installation) delivered(t *testing.T, commit, value string) {
	t.Helper()
	eventually(t, "release "+commit, func(ctx context.Context) error {
		if err := in.app.Poke(ctx, in.app.Key); err != nil {
			return err
		}
		within, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		_, err := in.app.Await(within, in.app.Key, func(s *v1alpha1.GitSync) bool {
			return strings.HasSuffix(s.Status.LastAppliedRevision, commit)
		})
		return err
	})
	var note corev1.ConfigMap
	must(t, "the note", in.get(t.Context(), "note", &note))
	if note.Data["value"] != value {
		t.Errorf("the note is %q, want %q", note.Data["value"], value)
	}
}

// enforcing waits until an attack is refused by name again.
func (in *installation) enforcing(t *testing.T) {
	t.Helper()
	eve, err := in.attacker()
	must(t, "the attacker", err)
	eventually(t, "the lock to refuse an attack", func(ctx context.Context) error {
		err := patch(eve, "/api/v1/namespaces/"+closed+"/configmaps/settings", `{"data":{"mode":"evil"}}`)(ctx)
		if err == nil {
			t.Fatal("an attack passed")
		}
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), string(verdict.ContentMismatch)) {
			return fmt.Errorf("the attack got %w", err)
		}
		return nil
	})
}

// replaced deletes a Pod, as people may, and waits for the controller to make
// another.
func (in *installation) replaced(t *testing.T) {
	t.Helper()
	pods, err := in.alice.CoreV1().Pods(closed).List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
	must(t, "listing Pods", err)
	if len(pods.Items) == 0 {
		t.Fatal("no Pod to delete")
	}
	name := pods.Items[0].Name
	eventually(t, "the deletion of a Pod", func(ctx context.Context) error {
		err := in.alice.CoreV1().Pods(closed).Delete(ctx, name, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
	eventually(t, "the Pod to be gone", func(ctx context.Context) error {
		_, err := in.alice.CoreV1().Pods(closed).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			return errors.New("it is still there")
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
	in.settled(t, in.first())
}

// oneKilled kills a replica: writes go on by way of the other.
func (in *installation) oneKilled(t *testing.T) {
	in.replicas["one"].Kill()
	in.enforcing(t)
	in.replaced(t)
	in.delivers(t)
	in.restart(t, "one")
}

// bothPaused stalls every replica under a flood of attacks.
func (in *installation) bothPaused(t *testing.T) {
	before := in.stored(t)
	for _, w := range in.replicas {
		must(t, "pausing "+w.Replica, w.Pause())
	}
	passed := in.flood(t)
	stored := in.stored(t)
	for _, w := range in.replicas {
		must(t, "resuming "+w.Replica, w.Resume())
	}
	if passed != 0 {
		t.Errorf("%d of %d attacks passed", passed, floodSize)
	}
	if !bytes.Equal(before, stored) {
		t.Errorf("what etcd holds changed from %q to %q", before, stored)
	}
	in.enforcing(t)
	in.replaced(t)
	if after := in.stored(t); !bytes.Equal(before, after) {
		t.Errorf("after the replicas went on, what etcd holds changed from %q to %q", before, after)
	}
	in.asGitSays(t, in.images[0])
}

// flood makes attacks all at once, without asking again, and returns how many
// passed.
func (in *installation) flood(t *testing.T) int64 {
	t.Helper()
	eve, err := in.attacker()
	must(t, "the attacker", err)
	var passed, asked atomic.Int64
	var group sync.WaitGroup
	for i := range floodSize {
		group.Go(func() {
			asked.Add(1)
			if in.strike(t.Context(), eve, i) == nil {
				passed.Add(1)
			}
		})
	}
	group.Wait()
	if asked.Load() != floodSize {
		t.Errorf("%d attacks were made, want %d", asked.Load(), floodSize)
	}
	return passed.Load()
}

// strike is the i-th attack of a flood.
func (in *installation) strike(ctx context.Context, eve kubernetes.Interface, i int) error {
	c := eve.CoreV1().RESTClient()
	switch i % 4 {
	case 0:
		body := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"attack-%d"}}`, i)
		return c.Post().AbsPath("/api/v1/namespaces/"+closed+"/configmaps").MaxRetries(0).SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Error()
	case 1:
		body := fmt.Appendf(nil, `{"data":{"mode":"evil-%d"}}`, i)
		return c.Patch("application/merge-patch+json").AbsPath("/api/v1/namespaces/" + closed + "/configmaps/settings").MaxRetries(0).Body(body).Do(ctx).Error()
	case 2:
		return c.Patch("application/strategic-merge-patch+json").AbsPath(webPath).MaxRetries(0).Body([]byte(evilImage)).Do(ctx).Error()
	}
	return c.Delete().AbsPath("/api/v1/namespaces/" + closed + "/configmaps/settings").MaxRetries(0).Do(ctx).Error()
}

// stored is what etcd holds of the object that nobody but attackers writes.
func (in *installation) stored(t *testing.T) []byte {
	t.Helper()
	value, err := in.Cluster.EtcdGet(t.Context(), "/registry/configmaps/"+closed+"/settings")
	must(t, "asking etcd", err)
	return value
}

// lagging has one replica stand still while the other verifies a commit, and then
// be the only one: what it does not know yet it asks to be asked again, so that the
// reconciler gets through without a final denial.
func (in *installation) lagging(t *testing.T) {
	from := in.marks(t)
	busy, idle := in.byUse(t)
	must(t, "pausing", idle.Pause())
	t.Cleanup(func() { _ = idle.Resume() })
	commit, value := in.note(t)
	eventually(t, "the other replica to know the commit", func(ctx context.Context) error {
		_ = in.app.Poke(ctx, in.app.Key) // nobody answers if the one that stands still is asked
		var s v1alpha1.GitSync
		if err := in.Client.Get(ctx, in.app.Key, &s); err != nil {
			return err
		}
		if s.Status.Lock != nil && slices.ContainsFunc(s.Status.Lock.Replicas, func(r v1alpha1.LockReplica) bool {
			return r.Name == busy.Replica && strings.HasSuffix(r.Revision, commit)
		}) {
			return nil
		}
		return fmt.Errorf("the status says %+v", s.Status.Lock)
	})
	pause(t.Context(), 9*time.Second) // the reconciler waits for a replica for 10
	busy.Kill()
	must(t, "resuming", idle.Resume())
	in.delivered(t, commit, value)
	in.enforcing(t)
	in.restart(t, busy.Replica)
	all, err := in.decisions(from)
	must(t, "reading the decision logs", err)
	pending := 0
	for _, d := range all {
		if d.User == lab.ReconcilerUser && d.Pending {
			pending++
		}
		if d.User == lab.ReconcilerUser && final(d) {
			t.Errorf("the reconciler was denied: %s", describe(d))
		}
	}
	t.Logf("the reconciler was asked %d times to ask again", pending)
}

// byUse tells which replica the API server asks at present.
func (in *installation) byUse(t *testing.T) (busy, idle *lab.Webhook) {
	t.Helper()
	from := in.marks(t)
	for range 3 {
		in.enforcing(t)
	}
	grown := func(w *lab.Webhook) int64 { return in.marks(t)[w.Decisions] - from[w.Decisions] }
	eventually(t, "decisions", func(context.Context) error {
		busy, idle = in.replicas["one"], in.replicas["two"]
		if grown(busy) < grown(idle) {
			busy, idle = idle, busy
		}
		if grown(busy) == 0 {
			return errors.New("none")
		}
		return nil
	})
	return busy, idle
}

// restart starts replicas that were killed and waits until they are ready.
func (in *installation) restart(t *testing.T, names ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, name := range names { // neither can wait for the other
		w, err := in.StartWebhook(ctx, name, "--log-allowed")
		must(t, "starting "+name, err)
		in.replicas[name] = w
	}
	for _, name := range names {
		must(t, "restarting "+name, in.replicas[name].AwaitReady(ctx))
	}
}

// withoutGit kills every replica and starts them while Git is down: they enforce
// what they have verified before, and let controllers work.
func (in *installation) withoutGit(t *testing.T) {
	in.Git.Inject(gitserver.Fault{Status: http.StatusServiceUnavailable})
	t.Cleanup(in.Git.Heal)
	for _, w := range in.replicas {
		w.Kill()
	}
	if passed := in.flood(t); passed != 0 {
		t.Errorf("%d of %d attacks passed without a webhook", passed, floodSize)
	}
	in.restart(t, "one", "two")
	in.enforcing(t)
	in.replaced(t)
	in.Git.Heal()
	in.delivers(t)
}
