package lock_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/lab"
)

const rootCA = core + "configmaps/kube-root-ca.crt"

// clusterCA writes down by what gitgate knows the API server.
func (in *installation) clusterCA(also string) (string, error) {
	file := filepath.Join(in.Dir, "cluster-ca.crt")
	return file, os.WriteFile(file, append(in.Cluster.RESTConfig().CAData, also...), 0o600)
}

// TestAttack_K17_RootCA has the Pods of a closed namespace trust another API server,
// in the name of who tells them which one to trust.
func TestAttack_K17_RootCA(t *testing.T) {
	in := begin(t)
	const more = "-----BEGIN CERTIFICATE-----\nTUFMTE9SWQ==\n-----END CERTIFICATE-----\n"
	publisher := in.as(t, "system:serviceaccount:kube-system:root-ca-cert-publisher")
	ca := string(in.Cluster.RESTConfig().CAData)
	for name, content := range map[string]string{"Added": ca + more, "Replaced": more} {
		for _, m := range methods {
			t.Run(name+"/"+m.name, func(t *testing.T) {
				in.putOff(t, publisher, in.edited(t, m, rootCA, set(content, "data", "ca.crt")), verdict.ContentMismatch)
				in.succeeds(t, publisher, in.edited(t, m, "/api/v1/namespaces/"+free+"/configmaps/kube-root-ca.crt", set(content, "data", "ca.crt")))
			})
		}
	}
	t.Run("Alice", func(t *testing.T) {
		in.refused(t, in.alice, func(path string) request { return in.edited(t, methods[1], path, set(ca+more, "data", "ca.crt")) }, rootCA, verdict.NotInGit)
		in.refusedAlone(t, in.alice, in.edited(t, methods[1], "/api/v1/namespaces/"+lab.SystemNamespace+"/configmaps/kube-root-ca.crt", set(ca+more, "data", "ca.crt")), verdict.NotInGit)
	})
	t.Run("Rotation", func(t *testing.T) { // as soon as gitgate knows, nothing holds the publisher up
		rotated := in.edited(t, methods[0], rootCA, set(ca+more, "data", "ca.crt"))
		if _, err := in.clusterCA(more); err != nil {
			t.Fatal(err)
		}
		got := in.ask(t, publisher, rotated, true)
		if _, err := in.clusterCA(""); err != nil {
			t.Fatal(err)
		}
		if got.code != http.StatusOK {
			t.Errorf("%d %s", got.code, got.status.Message)
		}
	})
	t.Run("Publisher", func(t *testing.T) { // the real one
		was := in.get(t, rootCA)
		if got := in.ask(t, in.as(t, "system:serviceaccount:kube-system:namespace-controller"), deletion("", "")(rootCA), false); got.code != http.StatusOK {
			t.Fatalf("%d %s", got.code, got.status.Message)
		}
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			if got, err := in.alice.send(t.Context(), request{verb: http.MethodGet, path: rootCA}, false); err == nil && got.code == http.StatusOK {
				if d := cmp.Diff(was["data"], in.get(t, rootCA)["data"]); d != "" {
					t.Errorf("it came back another one (-was +is):\n%s", d)
				}
				return
			}
		}
		t.Error("it does not come back")
	})
}

// putOff fails unless a request is put off for one of the reasons, and changes
// nothing.
func (in *installation) putOff(t *testing.T, who *caller, r request, want ...verdict.Reason) {
	t.Helper()
	before := in.state(t)
	for _, dry := range []bool{true, false} {
		got, err := who.send(t.Context(), r, dry)
		if err != nil {
			t.Fatal(err)
		}
		if got.code != http.StatusServiceUnavailable || !says(got.status.Message, want) {
			t.Errorf("%s %s as %s (dry run: %t): %d %s", r.verb, r.path, who.user, dry, got.code, got.status.Message)
		}
	}
	if diff := cmp.Diff(before, in.state(t)); diff != "" {
		t.Errorf("the attack changed what etcd holds (-before +after):\n%s", diff)
	}
}
