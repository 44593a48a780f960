package reconcile

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// A DecisionLog writes every verdict as one line of JSON, allows as well as
// denials. Verdicts hold no secrets. The zero value writes nothing; it is safe
// for concurrent use.
type DecisionLog struct {
	mu  sync.Mutex
	out io.Writer
}

// NewDecisionLog returns a log that writes to out.
func NewDecisionLog(out io.Writer) *DecisionLog { return &DecisionLog{out: out} }

// A Decision is one line of the log.
type Decision struct {
	Time time.Time `json:"time"`
	// Door is where the decision fell: reconciler.
	Door string `json:"door"`
	// GitSync is namespace/name.
	GitSync string          `json:"gitSync"`
	Author  string          `json:"author,omitempty"`
	Signers []string        `json:"signers,omitempty"`
	Verdict verdict.Verdict `json:"verdict"`
	// Asked is what the verdict rests on beside the revision and what judges it:
	// with it the revision can be judged again, as it was then.
	Asked *Asked `json:"asked,omitempty"`
}

// Asked is what was in force when a revision was judged. All hashes are in hex.
type Asked struct {
	// Base are the commits that were applied, by our own record.
	Base []string `json:"base,omitempty"`
	// Ancestors are those that only the status told of.
	Ancestors []string `json:"ancestors,omitempty"`
	// Tags are the objects of the tags that may allow a rollback.
	Tags []string `json:"tags,omitempty"`
	// Inventory counts the objects that were applied.
	Inventory int `json:"inventory"`
}

func asked(req gate.Request) *Asked {
	out := &Asked{Inventory: req.Inventory}
	for _, h := range req.Commit.Base {
		out.Base = append(out.Base, h.String())
	}
	for _, h := range req.Commit.Ancestors {
		out.Ancestors = append(out.Ancestors, h.String())
	}
	for _, raw := range req.Commit.Tags {
		out.Tags = append(out.Tags, plumbing.ComputeHash(plumbing.TagObject, raw).String())
	}
	return out
}

// A HeldChange is one line of the log: a change that a break-glass grant let pass
// and that is put back now.
type HeldChange struct {
	Time    time.Time `json:"time"`
	Door    string    `json:"door"`
	GitSync string    `json:"gitSync"`
	Grant   string    `json:"grant"`
	Object  string    `json:"object"`
	// Missing means that the object was deleted.
	Missing bool `json:"missing,omitempty"`
	// File and Line are where Git declares the object.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Fields are what changed.
	Fields []string `json:"fields,omitempty"`
	// Patch is the merge patch (RFC 7396) to commit if the change is to stay; none
	// for a Secret.
	Patch map[string]any `json:"patch,omitempty"`
}

// A RuleDecision is one line of the log: rules of a PolicySet that came into force or
// went out of it, or a version that was refused.
type RuleDecision struct {
	Time      time.Time `json:"time"`
	Door      string    `json:"door"`
	PolicySet string    `json:"policySet"`
	// URL is where the rules come from.
	URL string `json:"url"`
	// Former was in force before, and Revision is now, with the Digest of its files;
	// empty for none.
	Former   string `json:"former,omitempty"`
	Revision string `json:"revision,omitempty"`
	Digest   string `json:"digest,omitempty"`
	// Newest is the newest version, and Refused why it is not in force.
	Newest  string         `json:"newest,omitempty"`
	Refused verdict.Reason `json:"refused,omitempty"`
	Message string         `json:"message,omitempty"`
}

// WriteRules appends what became of rules.
func (l *DecisionLog) WriteRules(d RuleDecision) error { return l.append(d) }

// Write appends a decision. An error means that it is not on record.
func (l *DecisionLog) Write(d Decision) error { return l.append(d) }

// WriteHeld appends a change that is put back.
func (l *DecisionLog) WriteHeld(h HeldChange) error { return l.append(h) }

func (l *DecisionLog) append(entry any) error {
	if l == nil || l.out == nil {
		return nil
	}
	line, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err = l.out.Write(append(line, '\n'))
	return err
}
