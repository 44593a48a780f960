package doctor

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/version"
)

// TestVersionCheck judges versions that no test can run.
func TestVersionCheck(t *testing.T) {
	for v, want := range map[string]struct {
		status Status
		advice bool
	}{
		"v1.37.1": {OK, false}, "v1.38.0-alpha.1": {OK, false}, "v1.36.2-eks-1a2b": {OK, true}, "v1.30.0+k3s1": {OK, true},
		"v1.29.15": {Fail, true}, "v1.9.0": {Fail, true}, "": {Unknown, false}, "main\x1b[2J": {Unknown, false},
	} {
		got := versionCheck(version.Info{GitVersion: v})
		if got.Status != want.status || (got.Advice != "") != want.advice {
			t.Errorf("%q: %+v", v, got)
		}
	}
}

func TestCount(t *testing.T) {
	for want, got := range map[string]string{
		"no grant": count(0, "grant"), "1 TrustPolicy": count(1, "TrustPolicy"), "2 TrustPolicies": count(2, "TrustPolicy"), "3 grants": count(3, "grant"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestAge(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"10 days": 10 * 24 * time.Hour, "23 hours": 23*time.Hour + 59*time.Minute, "1m30s": 90 * time.Second,
	} {
		if got := age(d); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestStatus proves that the zero status, and no check at all, are not well.
func TestStatus(t *testing.T) {
	for name, tc := range map[string]struct {
		statuses []Status
		want     Status
	}{
		"None": {nil, Unknown}, "Zero": {[]Status{OK, ""}, ""}, "Well": {[]Status{OK, OK}, OK}, "Warned": {[]Status{OK, Warn}, Warn},
		"NotKnown": {[]Status{Warn, Unknown}, Unknown}, "Failed": {[]Status{Unknown, Fail, OK}, Fail},
	} {
		var r Report
		for _, s := range tc.statuses {
			r.Checks = append(r.Checks, Check{Status: s})
		}
		if got := r.Status(); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
