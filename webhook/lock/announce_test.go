package lock

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// Who applies waits for a replica that is behind; nobody else is put off, and
// nothing is let pass.
func TestAnnounce(t *testing.T) {
	sync := types.NamespacedName{Namespace: "sys", Name: "web"}
	rel := &release{sync: sync, revision: "main@sha1:b", writer: "tenant"}
	before := &release{sync: sync, revision: "main@sha1:a", writer: "tenant"}
	for name, tc := range map[string]struct {
		reason    string
		announced string
		previous  *release
		user      string
		want      string
	}{
		"Behind":   {"The revision is not known here yet.", "main@sha1:c", nil, "tenant", "main@sha1:c"},
		"UpToDate": {"It is the one that is enforced.", "main@sha1:b", nil, "tenant", ""},
		"Previous": {"It is still applied while the next one is refused.", "main@sha1:a", before, "tenant", ""},
		"Nothing":  {"Nothing was announced.", "", nil, "tenant", ""},
		"Stranger": {"Others cannot make use of it.", "main@sha1:c", nil, "alice", ""},
	} {
		t.Run(name, func(t *testing.T) {
			i := NewInventory()
			i.syncs[sync] = &syncState{current: rel, previous: tc.previous}
			i.order = append(i.order, sync)
			i.Announce(sync, tc.announced)
			if got := i.state.Load().behind(rel, tc.user); got != tc.want {
				t.Errorf("%s\nbehind %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
