package lock_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// uniform is what every denial over a Secret says.
const uniform = "is not what Git says it must be, or may not be written at all: "

// begin returns the installation, and has the test end with a good commit that
// must go live.
func begin(t *testing.T) *installation {
	t.Helper()
	in, err := shared()
	if err != nil {
		t.Fatalf("no installation to attack: %v", err)
	}
	in.settles(t)
	t.Cleanup(func() { in.goesOn(t) })
	return in
}

// settles waits until controllers have done with what the test before left: what they
// write is no deed of an attack.
func (in *installation) settles(t *testing.T) {
	t.Helper()
	before := in.state(t)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		time.Sleep(time.Second)
		now := in.state(t)
		if maps.Equal(before, now) {
			return
		}
		before = now
	}
	t.Fatalf("the objects of %s change all the time", locked)
}

// goesOn commits something good and fails unless it goes live.
func (in *installation) goesOn(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience) // the test's has ended
	defer cancel()
	in.releases++
	value := fmt.Sprintf("release %d", in.releases)
	in.commit(ctx, t, map[string]string{"deploy/marker.yaml": lab.ConfigMap("marker", "value", value)})
	var marker corev1.ConfigMap
	if err := in.Client.Get(ctx, client.ObjectKey{Namespace: locked, Name: "marker"}, &marker); err != nil || marker.Data["value"] != value {
		t.Errorf("the marker is %q (%v), want %q", marker.Data["value"], err, value)
	}
}

// commit commits to harbor and fails unless it goes live.
func (in *installation) commit(ctx context.Context, t *testing.T, files map[string]string) {
	t.Helper()
	hash, err := in.harbor.Commit(gitrepo.Change{Files: files})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := in.harbor.Accepted(ctx, hash); err != nil {
		t.Fatalf("a good commit does not go live: %v\ngitgate's log ends:\n%s", err, in.Server().LogTail(4<<10))
	}
}

// changed writes an object in every way and fails unless every way is refused.
func (in *installation) changed(t *testing.T, who *caller, path string, edit func(map[string]any), want ...verdict.Reason) {
	t.Helper()
	for _, m := range append(methods[:len(methods):len(methods)], create) {
		t.Run(m.name, func(t *testing.T) {
			in.refused(t, who, func(path string) request { return in.edited(t, m, path, edit) }, path, want...)
		})
	}
}

// versioned are what the server updates only with the version that was read.
var versioned = regexp.MustCompile(`\.example\.com/v1/|/customresourcedefinitions/|/apiservices/`)

// edited makes the request that writes the edit of what is at the path.
func (in *installation) edited(t *testing.T, m method, path string, edit func(map[string]any)) request {
	t.Helper()
	was := in.get(t, path)
	is := runtime.DeepCopyJSON(was)
	edit(is)
	if m.name == "PUT" && !versioned.MatchString(path) {
		delete(is["metadata"].(map[string]any), "resourceVersion")
	}
	return m.make(path, was, is)
}

// refused sends a request, as a dry run first, and fails unless the lock refuses
// both for one of the reasons, says so in the decision log, and etcd holds what it
// held; and unless the same succeeds on the twin.
func (in *installation) refused(t *testing.T, who *caller, make func(path string) request, path string, want ...verdict.Reason) {
	t.Helper()
	r := make(path)
	before := in.state(t)
	if r.verb != http.MethodGet {
		in.denied(t, who, r, true, want...)
	}
	in.denied(t, who, r, false, want...)
	if diff := cmp.Diff(before, in.state(t)); diff != "" {
		t.Errorf("the attack changed what etcd holds (-before +after):\n%s", diff)
	}
	if twin := strings.ReplaceAll(path, locked, free); twin != path {
		in.succeeds(t, who, make(twin))
	}
}

// denied sends a request and fails unless the lock refuses it.
func (in *installation) denied(t *testing.T, who *caller, r request, dry bool, want ...verdict.Reason) reply {
	t.Helper()
	marks := in.marks(t)
	got := in.ask(t, who, r, dry)
	// Of Secrets a denial tells nothing that could be guessed from: the log has why.
	told := says(got.status.Message, want) || strings.Contains(r.path, "/secrets") && strings.Contains(got.status.Message, uniform)
	if got.code != http.StatusForbidden || !told {
		t.Fatalf("%s %s as %s (dry run: %t): %d %s\nwant 403 and one of %s", r.verb, r.path, who.user, dry, got.code, got.status.Message, want)
	}
	if strings.Contains(got.status.Message, canary) {
		t.Errorf("the denial tells a secret: %s", got.status.Message)
	}
	in.logged(t, marks, who.user, dry, want)
	return got
}

// ask sends a request, again as long as it is put off, as client-go does.
func (in *installation) ask(t *testing.T, who *caller, r request, dry bool) reply {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		got, err := who.send(t.Context(), r, dry)
		if err != nil {
			t.Fatal(err)
		}
		if got.code != http.StatusServiceUnavailable && got.code != http.StatusTooManyRequests || time.Now().After(deadline) {
			return got
		}
	}
}

func says(message string, want []verdict.Reason) bool {
	for _, w := range want {
		if strings.Contains(message, string(w)+": ") {
			return true
		}
	}
	return false
}

// succeeds is the negative control: the same request where nothing is locked.
func (in *installation) succeeds(t *testing.T, who *caller, r request) {
	t.Helper()
	r.body = bytes.ReplaceAll(r.body, []byte(locked), []byte(free))
	got := in.ask(t, who, r, r.verb != http.MethodGet)
	if r.twin == 0 && got.code/100 != 2 || r.twin != 0 && got.code != r.twin {
		t.Errorf("%s %s as %s, where nothing is locked: %d %s\nwant it to succeed: otherwise the attack proves nothing", r.verb, r.path, who.user, got.code, got.status.Message)
	}
}

// marks are the lengths of the decision logs.
func (in *installation) marks(t *testing.T) []int64 {
	t.Helper()
	out := make([]int64, len(in.replicas))
	for i, w := range in.replicas {
		info, err := os.Stat(w.Decisions)
		if err == nil {
			out[i] = info.Size()
		} else if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return out
}

// logged waits for a decision that denies, later in a log than the marks.
func (in *installation) logged(t *testing.T, marks []int64, user string, dry bool, want []verdict.Reason) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		for i, w := range in.replicas {
			text, err := os.ReadFile(w.Decisions)
			if err != nil {
				continue // nothing was logged yet
			}
			for line := range bytes.Lines(text[min(marks[i], int64(len(text))):]) {
				var d struct {
					User            string
					Allowed, DryRun bool
					Reason          verdict.Reason
				}
				if json.Unmarshal(line, &d) != nil { // being written
					continue
				}
				if d.User == user && !d.Allowed && d.DryRun == dry && says(string(d.Reason)+": ", want) {
					return
				}
			}
		}
	}
	t.Errorf("no decision log denies %s (dry run: %t) for one of %s", user, dry, want)
}

// state is what etcd holds of harbor, apart from what tells of attacks: digests by
// key.
func (in *installation) state(t *testing.T) map[string]string {
	t.Helper()
	keys, err := in.Cluster.EtcdKeys(t.Context(), "/registry/")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, key := range keys {
		if !strings.Contains(key, locked) || strings.HasPrefix(key, "/registry/gitgate.dev/gitsyncs/") || strings.HasPrefix(key, "/registry/events/") {
			continue
		}
		value, err := in.Cluster.EtcdGet(t.Context(), key)
		if errors.Is(err, cluster.ErrNoKey) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(value)
		out[key] = hex.EncodeToString(sum[:8])
	}
	if len(out) < 20 {
		t.Fatalf("etcd holds %d objects of %s: the comparison would mean little", len(out), locked)
	}
	return out
}
