package lock

import (
	"fmt"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/verdict"
)

// A ruling is a decision before grants and modes. The zero ruling denies.
type ruling struct {
	allowed  bool
	pending  bool
	final    bool // no grant opens it
	reason   verdict.Reason
	matched  Matched
	release  *release // whose word it is
	entry    *entry   // what Git says of the object, if it does
	mode     Mode     // overrides that of release
	why      string   // what is wrong, as a sentence
	changes  []desired.Change
	next     string // what to do; empty is told by the reason
	findings []verdict.Finding
	warnings []string
}

func allow(m Matched, rel *release) ruling {
	return ruling{allowed: true, matched: m, release: rel}
}

func deny(m Matched, rel *release, reason verdict.Reason, format string, args ...any) ruling {
	return ruling{matched: m, release: rel, reason: reason, why: fmt.Sprintf(format, args...)}
}

// pend answers that the same request may pass shortly.
func pend(m Matched, rel *release, reason verdict.Reason, format string, args ...any) ruling {
	g := deny(m, rel, reason, format, args...)
	g.pending = true
	return g
}

// sealed makes a ruling that no grant opens.
func (g ruling) sealed() ruling {
	g.final = true
	return g
}
