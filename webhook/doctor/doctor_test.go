package doctor_test

import (
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/webhook/doctor"
)

// TestWell proves that nothing is wrong with an installation with which nothing is
// wrong. Every finding of the other tests is absent here.
func TestWell(t *testing.T) {
	r, err := well.examine(testContext(t), doctor.Config{})
	if err != nil {
		t.Fatal(err)
	}
	toKnow := map[string]string{ // of an installation that nobody uses yet
		"gitsyncs":           "no GitSync",
		"policysets":         "no PolicySet",
		"rbac-cluster-admin": "User alice", // whom every test cluster has
	}
	for _, c := range r.Checks {
		if reason, ok := toKnow[c.ID]; ok {
			finding{c.ID, doctor.Warn, reason}.check(t, r)
			continue
		}
		if c.Status != doctor.OK {
			t.Errorf("%s is %s: %s\n%s", c.ID, c.Status, c.Message, strings.Join(c.Details, "\n"))
		}
	}
	if r.Status() != doctor.Warn || len(r.Checks) < 27 {
		t.Errorf("status %s, %d checks", r.Status(), len(r.Checks))
	}
	seen := map[string]bool{}
	for _, c := range r.Checks {
		if seen[c.ID] {
			t.Errorf("%s is there twice", c.ID)
		}
		seen[c.ID] = true
	}
}

// TestClock proves that a clock which is wrong is told, by our own being wrong.
func TestClock(t *testing.T) {
	for name, tc := range map[string]struct {
		by   time.Duration
		want doctor.Status
	}{
		"Right": {0, doctor.OK}, "Ahead": {20 * time.Second, doctor.Warn}, "Behind": {-20 * time.Second, doctor.Warn}, "Wrong": {-time.Hour, doctor.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := well.examine(testContext(t), doctor.Config{Preflight: true, Now: func() time.Time { return time.Now().Add(tc.by) }})
			if err != nil {
				t.Fatal(err)
			}
			finding{"clock-skew", tc.want, "differ by"}.check(t, r)
		})
	}
}

// TestNothingInstalled proves what a cluster without gitgate shows: a preflight that
// is well but for what cannot be known, and otherwise that nothing is there.
func TestNothingInstalled(t *testing.T) {
	ctx := testContext(t)
	c := cluster.New(t, cluster.Options{})
	r, err := doctor.Run(ctx, doctor.Config{REST: c.RESTConfig(), Preflight: true})
	if err != nil {
		t.Fatal(err)
	}
	finding{"controller-identities", doctor.Unknown, "no lease"}.check(t, r)
	if r.Count(doctor.Fail) != 0 || r.Count(doctor.Unknown) != 1 || r.Status() != doctor.Unknown {
		t.Errorf("preflight: %+v", r)
	}
	if r, err = doctor.Run(ctx, doctor.Config{REST: c.RESTConfig()}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []finding{
		{"crds", doctor.Fail, "gitsyncs.gitgate.dev is not installed"},
		{"accounts", doctor.Fail, "gitgate-system/gitgate-dryrun does not exist"},
		{"webhook-configuration", doctor.Warn, "nothing is locked"},
		{"webhook-certificate", doctor.Warn, "not told what to trust"},
		{"reconciler-replicas", doctor.Fail, "no Deployment"},
		{"webhook-replicas", doctor.Fail, "no Deployment"},
		{"webhook-endpoints", doctor.Fail, "no ready endpoint"},
		{"dry-run-policy", doctor.Fail, "does not exist"},
		{"gitsyncs", doctor.Unknown, "could not be read"},
		{"trust-rules", doctor.Unknown, "could not be read"},
		{"policysets", doctor.Unknown, "could not be read"},
		{"rights", doctor.Unknown, "could not be read"},
	} {
		f.check(t, r)
	}
	if r.Status() != doctor.Fail {
		t.Errorf("status %s", r.Status())
	}
}

// TestSharedIdentity proves that controllers with one identity are told of.
func TestSharedIdentity(t *testing.T) {
	c := cluster.New(t, cluster.Options{ControllerManager: true, SharedControllerCredentials: true})
	r, err := doctor.Run(testContext(t), doctor.Config{REST: c.RESTConfig(), Preflight: true})
	if err != nil {
		t.Fatal(err)
	}
	finding{"controller-identities", doctor.Warn, "all controllers act as system:kube-controller-manager"}.check(t, r)
}

// TestNotAllowed proves that what may not be read is unknown, and never well.
func TestNotAllowed(t *testing.T) {
	r, err := well.examine(testContext(t), doctor.Config{REST: well.ConfigFor("nobody")})
	if err != nil {
		t.Fatal(err)
	}
	public := map[string]bool{"api-server-version": true, "clock-skew": true, "admission-policies": true}
	for _, c := range r.Checks {
		if want := doctor.Unknown; public[c.ID] != (c.Status != want) {
			t.Errorf("%s is %s: %s", c.ID, c.Status, c.Message)
		}
		if c.Status == doctor.Unknown && c.Advice == "" {
			t.Errorf("%s: no advice", c.ID)
		}
	}
}

// TestUnreachable proves that a server which does not answer leaves everything
// unknown.
func TestUnreachable(t *testing.T) {
	config := well.RESTConfig()
	config.Host = "https://127.0.0.1:1"
	r, err := well.examine(testContext(t), doctor.Config{REST: config})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Checks {
		if c.Status != doctor.Unknown {
			t.Errorf("%s is %s: %s", c.ID, c.Status, c.Message)
		}
	}
	if len(r.Checks) < 20 || r.Status() != doctor.Unknown {
		t.Errorf("%d checks, %s", len(r.Checks), r.Status())
	}
}

// TestConfig proves that a configuration which names no cluster is an error.
func TestConfig(t *testing.T) {
	if _, err := doctor.Run(t.Context(), doctor.Config{}); err == nil {
		t.Error("no error without a cluster")
	}
}

// examined runs all checks.
func examined(t *testing.T) doctor.Report {
	t.Helper()
	r, err := well.examine(testContext(t), doctor.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
