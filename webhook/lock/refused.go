package lock

import (
	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/verdict"
)

// frozenRuling refuses to change an object that stays as it is: what it ought to be is
// not known, and the changes are those from what is there.
func (r *review) frozenRuling(e *entry, changes []desired.Change) ruling {
	g := deny(MatchedManaged, e.release, verdict.RevisionRefused, "%s is frozen, for the revision that is in force does not pass any more", r.what())
	if e.frozen == "" {
		g.why = r.what() + " is not made anew while the revision that declares it does not pass"
	}
	g.entry, g.changes = e, changes
	return g
}

// compareFrozen says what a frozen object has and what was tried.
func compareFrozen(c desired.Change, secret bool) string {
	switch {
	case secret:
		return "would change (values of Secrets are not shown)"
	case c.Reserved:
		return "is left to the controller that keeps it"
	case c.Old == nil:
		return "is not there, tried " + show(c.New)
	case c.New == nil:
		return "is " + show(c.Old) + ", tried to remove it"
	}
	return "is " + show(c.Old) + ", tried " + show(c.New)
}

// compare says what is, or is to be, and what was tried.
func (g *ruling) compare(c desired.Change, secret bool) string {
	if g.entry != nil && g.entry.frozen != "" {
		return compareFrozen(c, secret)
	}
	return compare(c, secret)
}

// held tells of a revision that is in force and does not pass any more; empty for all
// others.
func (g *ruling) held() string {
	rel := g.release
	if rel == nil || rel.refused == "" {
		return ""
	}
	out := "\n  Held: " + rel.revision + " stays in force although it is refused now: " + clipTo(rel.refused, maxRefused)
	if g.entry != nil && g.entry.frozen != "" {
		out += "\n  Frozen: " + clipTo(g.entry.frozen, maxRefused)
	}
	return out
}

// maxRefused bounds what is told of a refusal, in bytes.
const maxRefused = 400

// thaw is what to do about a frozen object.
func (g *ruling) thaw(r *review) string {
	return "bring a revision that passes: correct in Git what refuses this one, or renew the exception or the trust that ended. In an emergency: " + r.breakglass()
}

// mayRun reports whether a Pod of the family may run an image: it was verified, or the
// object at the root is held as it is, and runs it.
func (r *review) mayRun(f family, ref string) bool {
	if r.snap.images.runs(ref) {
		return true
	}
	return f.root != nil && (f.root.current != nil && f.root.current.runs[ref] || f.root.previous != nil && f.root.previous.runs[ref])
}

// Refused counts the GitSyncs whose revision is held although no gate lets it pass any
// more, and their objects that are frozen.
func (i *Inventory) Refused() (syncs, frozen int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, st := range i.syncs {
		if st.current.refused == "" {
			continue
		}
		syncs++
		for _, e := range st.current.entries {
			if e.frozen != "" {
				frozen++
			}
		}
	}
	return syncs, frozen
}
