package reconcile

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// listed answers List with GitSyncs, or PolicySets, of these URLs, or fails.
type listed struct {
	client.Reader
	urls  []string
	rules []string
	err   error
}

func (l listed) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	switch all := into.(type) {
	case *v1alpha1.GitSyncList:
		for _, url := range l.urls {
			sync := v1alpha1.GitSync{}
			sync.Spec.URL, sync.Spec.Suspend = url, true
			all.Items = append(all.Items, sync)
		}
	case *v1alpha1.PolicySetList:
		all.Items = append(all.Items, v1alpha1.PolicySet{}) // that has its rules from nowhere else
		for _, url := range l.rules {
			set := v1alpha1.PolicySet{}
			set.Spec.Source.Git = &v1alpha1.GitPolicySource{URL: url}
			all.Items = append(all.Items, set)
		}
	}
	return l.err
}

// A clone goes a day after the last GitSync that refers to it, even a suspended
// one; as long as nobody knows which GitSyncs there are, none goes.
func TestSourcesPrune(t *testing.T) {
	const url = "https://git.example.com/app.git"
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		reason  string
		syncs   listed
		after   time.Duration
		removed bool
	}{
		"Referred": {"A suspended GitSync goes on from its clone.", listed{urls: []string{url}}, 48 * time.Hour, false},
		"Rules":    {"A PolicySet has its rules from it.", listed{rules: []string{url}}, 48 * time.Hour, false},
		"Unused":   {"Nobody uses it.", listed{urls: []string{url + "2"}}, 24 * time.Hour, true},
		"Early":    {"Somebody may come back.", listed{}, 23 * time.Hour, false},
		"Unknown":  {"The API server is away.", listed{err: errors.New("away")}, 48 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := NewSources(dir, false)
			if err != nil {
				t.Fatal(err)
			}
			repo, err := s.open(url, "main", nil, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := repo.Objects(t.Context()); err != nil { // lays the clone out
				t.Fatal(err)
			}
			repo.Close()
			if _, err := s.prune(t.Context(), listed{}, start); err != nil {
				t.Fatal(err)
			}
			removed, err := s.prune(t.Context(), tc.syncs, start.Add(tc.after))
			if !errors.Is(err, tc.syncs.err) {
				t.Errorf("got %v", err)
			}
			left, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil {
				t.Fatal(err)
			}
			if (len(removed) == 1) != tc.removed || (len(left) == 0) != tc.removed {
				t.Errorf("%s\nremoved %q, left %q", tc.reason, removed, left)
			}
		})
	}
}
