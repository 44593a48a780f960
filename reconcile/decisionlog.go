package reconcile

import (
	"encoding/json"
	"io"
	"sync"
	"time"

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
}

// Write appends a decision. An error means that it is not on record.
func (l *DecisionLog) Write(d Decision) error {
	if l == nil || l.out == nil {
		return nil
	}
	line, err := json.Marshal(d)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err = l.out.Write(append(line, '\n'))
	return err
}
