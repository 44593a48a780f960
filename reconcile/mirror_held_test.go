package reconcile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/reconcile/apply"
)

// wanted makes Wants from texts: a name, and ! before one that is frozen, ? before one
// that may be told at the next attempt.
func wanted(state string, names ...string) []apply.Want {
	var out []apply.Want
	for _, n := range names {
		w := apply.Want{Resource: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, Name: strings.Trim(n, "!?")}
		switch w.Kind.Kind = "ConfigMap"; n[0] {
		case '!':
			w.Frozen = state
		case '?':
		default:
			w.Desired = map[string]any{"of": state}
		}
		out = append(out, w)
	}
	return out
}

func texts(wants []apply.Want) []string {
	var out []string
	for _, w := range wants {
		switch {
		case w.Frozen != "":
			out = append(out, w.Name+" frozen by "+w.Frozen)
		case w.Desired == nil:
			out = append(out, w.Name+" pending")
		default:
			out = append(out, w.Name+" of "+w.Desired["of"].(string))
		}
	}
	return out
}

// TestHeldWants brings together what several revisions, and several looks, say.
func TestHeldWants(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		got    []apply.Want
		want   []string
	}{
		"Adds":        {"Revisions add to each other.", addWants(wanted("one", "a"), wanted("two", "b")), []string{"a of one", "b of two"}},
		"First":       {"The first word counts.", addWants(wanted("one", "a"), wanted("two", "a")), []string{"a of one"}},
		"Intact":      {"As one of them says is as it ought to be.", addWants(wanted("one", "!a"), wanted("two", "a")), []string{"a of two"}},
		"NotFrozen":   {"That another says otherwise freezes nothing.", addWants(wanted("one", "a"), wanted("two", "!a")), []string{"a of one"}},
		"Known":       {"What a grant let change meanwhile may be put right after it.", keepKnown(wanted("one", "a"), wanted("two", "!a")), []string{"a of one"}},
		"Thawed":      {"What can be told now is.", keepKnown(wanted("one", "!a"), wanted("two", "a")), []string{"a of two"}},
		"StillFrozen": {"The newest reason is told.", keepKnown(wanted("one", "!a"), wanted("two", "!a")), []string{"a frozen by two"}},
		"LeftOut":     {"That a later status leaves an object out does not free it.", keepKnown(wanted("one", "a", "!b"), wanted("two", "c")), []string{"c of two", "a of one", "b frozen by one"}},
		"Pending":     {"What nobody knew is not known now.", keepKnown(wanted("one", "?a"), wanted("two", "!a")), []string{"a frozen by two"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, texts(tc.got)); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// A revision that is held is not remembered as one that passed, whatever the status says.
func TestHeldIsNotRemembered(t *testing.T) {
	f, _ := newFollow(t)
	v := f.releaseOf(t, 1, "a")
	v.mark = mark(f.sync, v.head)
	f.sync.Status.LastAppliedRevision = v.Revision
	remembered := func() (passed, marked bool) {
		h, err := f.session.repo.Applied(f.session.owner.String())
		if err != nil {
			t.Fatal(err)
		}
		return h == v.head, len(f.session.repo.Earlier(marker(f.session.owner))) > 0
	}
	held := *v
	held.Held = &Holding{Why: "no"}
	f.session.current, f.session.former = &held, &held
	f.confirm(t.Context())
	if passed, marked := remembered(); passed || marked {
		t.Errorf("what is held is remembered: %t, %t", passed, marked)
	}
	f.session.former = nil
	f.confirm(t.Context())
	if passed, marked := remembered(); passed || marked {
		t.Errorf("what is held is remembered once something else was: %t, %t", passed, marked)
	}
	f.session.current = v
	f.confirm(t.Context())
	if passed, marked := remembered(); !passed || !marked {
		t.Errorf("what passed is not remembered: %t, %t", passed, marked)
	}
	before := mark(f.sync, v.head)
	f.sync.Spec.Path = "elsewhere"
	if cmp.Equal(before, mark(f.sync, v.head)) {
		t.Error("another path is the same to the mark")
	}
}
