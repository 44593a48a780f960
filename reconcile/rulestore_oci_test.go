package reconcile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

func bundleSet(url string) *v1alpha1.PolicySet {
	set := &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: "house"}}
	set.Spec.Source.OCI = &v1alpha1.OCIPolicySource{URL: url}
	return set
}

// A tag never leads back, whatever the registry says; a digest may.
func TestCandidateBundle(t *testing.T) {
	const tag, pinned = "oci://registry.example.com/house:v1", "oci://registry.example.com/house@sha256:aaaa"
	type version struct{ digest, version string }
	for name, tc := range map[string]struct {
		reason string
		url    string
		before []version // that were in force, one after the other
		told   string    // of the status
		next   version
		taken  bool
	}{
		"First":        {"Nothing was before.", tag, nil, "", version{"a", "1.0.0"}, true},
		"Later":        {"A later version.", tag, []version{{"a", "1.9.0"}}, "", version{"b", "1.10.0"}, true},
		"Same":         {"The same version built anew is not older.", tag, []version{{"a", "1.9.0"}}, "", version{"b", "1.9.0"}, true},
		"Older":        {"An older one, which nobody saw here.", tag, []version{{"a", "v1.10.0"}}, "", version{"b", "1.9.0"}, false},
		"PreRelease":   {"What comes before a release is older.", tag, []version{{"a", "1.0.0"}}, "", version{"b", "1.0.0-rc.1"}, false},
		"NoVersions":   {"Of other texts nobody can tell.", tag, []version{{"a", "tuesday"}}, "", version{"b", "monday"}, true},
		"VersionGone":  {"Nor of one against none.", tag, []version{{"a", "1.0.0"}}, "", version{"b", ""}, true},
		"Back":         {"What was replaced does not come back.", tag, []version{{"a", ""}, {"b", ""}}, "", version{"a", ""}, false},
		"FarBack":      {"However long ago.", tag, []version{{"a", ""}, {"b", ""}, {"c", ""}, {"d", ""}}, "", version{"a", ""}, false},
		"InForce":      {"What is in force is no step back.", tag, []version{{"a", ""}, {"b", ""}}, "", version{"b", ""}, true},
		"Pinned":       {"Whoever names a digest means it.", pinned, []version{{"a", "2.0.0"}, {"b", "3.0.0"}}, "", version{"a", "1.0.0"}, true},
		"TheStatus":    {"Without our own record the status counts, if it refuses.", tag, nil, "2.0.0", version{"a", "1.0.0"}, false},
		"TheStatusToo": {"And for nothing else.", tag, nil, "1.0.0", version{"a", "2.0.0"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewRuleStore(RuleStoreConfig{Dir: t.TempDir()})
			set := bundleSet(tc.url)
			bundle := func(v version) *SignedBundle {
				return &SignedBundle{Digest: v.digest, Tag: "v1", Version: v.version, Bytes: []byte(v.digest)}
			}
			for _, v := range tc.before {
				last := &bundleRecord{URL: tc.url}
				if r, err := s.readBundleRecord(set); err != nil {
					t.Fatal(err)
				} else if r != nil {
					last = r
					last.Earlier = append(last.Earlier, r.Digest)
				}
				last.Digest, last.Version = v.digest, v.version
				if err := s.writeBundleRecord(set, last); err != nil {
					t.Fatal(err)
				}
			}
			if tc.told != "" {
				set.Status.Artifact = &v1alpha1.PolicyArtifact{URL: tc.url, Version: tc.told}
			}
			c, err := s.candidateBundle(set, bundle(tc.next))
			if (err == nil) != tc.taken {
				t.Fatalf("%s\ngot %v", tc.reason, err)
			}
			if err != nil {
				var rule *ruleError
				if !errors.As(err, &rule) || rule.reason != verdict.NonFastForward || !finalRefusal(err) {
					t.Errorf("refused as %v", err)
				}
				return
			}
			if err := c.record(); err != nil {
				t.Fatal(err)
			}
			r, err := s.readBundleRecord(set)
			if err != nil || r.Digest != tc.next.digest || r.Version != tc.next.version {
				t.Fatalf("the record is %+v, %v", r, err)
			}
			for _, v := range tc.before {
				if v.digest != tc.next.digest && !slices.Contains(r.Earlier, v.digest) {
					t.Errorf("%s is not remembered", v.digest)
				}
			}
		})
	}
}

// A record that cannot be read is not nothing: with nothing every old bundle would be
// new. One of another source says nothing.
func TestBundleRecord(t *testing.T) {
	s := NewRuleStore(RuleStoreConfig{Dir: t.TempDir()})
	set := bundleSet("oci://registry.example.com/house:v1")
	if err := s.writeBundleRecord(set, &bundleRecord{URL: set.Spec.Source.OCI.URL, Digest: "a"}); err != nil {
		t.Fatal(err)
	}
	if r, err := s.readBundleRecord(bundleSet("oci://registry.example.com/house:v2")); r != nil || err != nil {
		t.Errorf("of another source: %v, %v", r, err)
	}
	if err := os.WriteFile(s.recordFile(set), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := s.readBundleRecord(set); r != nil || err == nil {
		t.Errorf("damaged: %v, %v", r, err)
	}
	if err := os.WriteFile(s.recordFile(set), fmt.Appendf(nil, `{"digest":"a","x":%q}`, make([]byte, maxBundleRecord)), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := s.readBundleRecord(set); r != nil || err == nil {
		t.Errorf("too large: %v, %v", r, err)
	}
}

func TestRepositoryOf(t *testing.T) {
	for ref, want := range map[string]string{
		"registry.example.com/a/b:v1": "registry.example.com/a/b", "127.0.0.1:5000/a:v1": "127.0.0.1:5000/a",
		"127.0.0.1:5000/a@sha256:00": "127.0.0.1:5000/a", "r.example.com/a:v1@sha256:00": "r.example.com/a", "127.0.0.1:5000/a": "127.0.0.1:5000/a",
	} {
		if got := repositoryOf(ref); got != want {
			t.Errorf("repositoryOf(%q) = %q, want %q", ref, got, want)
		}
	}
}

// Of bundles the last ones stay, and everything that is none.
func TestTidyBundles(t *testing.T) {
	dir := t.TempDir()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range keptBundleFiles + 3 {
		file := filepath.Join(dir, fmt.Sprintf("sha256-%02d", i))
		at := start.Add(-time.Duration(i) * time.Hour)
		if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Chtimes(file, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "in-force.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tidyBundles(dir)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != keptBundleFiles+1 || entries[0].Name() != "in-force.json" || entries[keptBundleFiles].Name() != fmt.Sprintf("sha256-%02d", keptBundleFiles-1) {
		t.Errorf("left are %v, %v", entries, err)
	}
}
