package webhook

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

// Door is what the webhook calls itself in the decision log.
const Door = "webhook"

// maxQueued bounds the decisions that wait to be written.
const maxQueued = 8192

// A Decision is one line of the decision log. It holds names, and values only if
// it is told to: never those of Secrets.
type Decision struct {
	Time time.Time `json:"time"`
	// Door is where the decision fell: webhook, or audit.
	Door string `json:"door"`
	// PolicySet is the one that judged what is there already.
	PolicySet string `json:"policySet,omitempty"`
	// GitSync is namespace/name of the one whose word decided, if any.
	GitSync  string `json:"gitSync,omitempty"`
	Revision string `json:"revision,omitempty"`
	// Refused is why that revision does not pass any more, if it is held nevertheless.
	Refused string `json:"refused,omitempty"`

	UID         string   `json:"uid"`
	User        string   `json:"user"`
	Groups      []string `json:"groups,omitempty"`
	Operation   string   `json:"operation"`
	APIVersion  string   `json:"apiVersion,omitempty"`
	Kind        string   `json:"kind,omitempty"`
	Resource    string   `json:"resource"`
	Subresource string   `json:"subresource,omitempty"`
	Namespace   string   `json:"namespace,omitempty"`
	Name        string   `json:"name,omitempty"`
	DryRun      bool     `json:"dryRun,omitempty"`

	Allowed  bool              `json:"allowed"`
	Pending  bool              `json:"pending,omitempty"`
	Reason   verdict.Reason    `json:"reason,omitempty"`
	Message  string            `json:"message,omitempty"`
	Mode     lock.Mode         `json:"mode,omitempty"`
	Matched  lock.Matched      `json:"matched,omitempty"`
	Grant    string            `json:"grant,omitempty"`
	Findings []verdict.Finding `json:"findings,omitempty"`
	Seconds  float64           `json:"seconds"`
	// Object and OldObject are what the rules saw, if the log is to hold them: see
	// [Config].Objects.
	Object    json.RawMessage `json:"object,omitempty"`
	OldObject json.RawMessage `json:"oldObject,omitempty"`
	// Lost counts the decisions that could not be written before this one.
	Lost int64 `json:"lost,omitempty"`
}

func decision(req *admissionv1.AdmissionRequest, a lock.Answer, at time.Time, took time.Duration) Decision {
	d := Decision{
		Time: at.UTC(), Door: Door, Revision: a.Revision, Refused: a.Refused,
		UID: string(req.UID), User: req.UserInfo.Username, Groups: slices.Clone(req.UserInfo.Groups),
		Operation: string(req.Operation), APIVersion: req.Kind.Version, Kind: req.Kind.Kind,
		Resource: req.Resource.Resource, Subresource: req.SubResource,
		Namespace: req.Namespace, Name: req.Name, DryRun: req.DryRun != nil && *req.DryRun,
		Allowed: a.Allowed, Pending: a.Pending, Reason: a.Reason, Message: a.Message,
		Mode: a.Mode, Matched: a.Matched, Grant: a.Grant, Findings: a.Findings,
		Seconds: took.Round(time.Microsecond).Seconds(),
	}
	if req.Kind.Group != "" {
		d.APIVersion = req.Kind.Group + "/" + req.Kind.Version
	}
	if req.Resource.Group != "" {
		d.Resource += "." + req.Resource.Group
	}
	if a.Sync.Name != "" {
		d.GitSync = a.Sync.String()
	}
	return d
}

// A DecisionLog writes decisions as lines of JSON, off the path of admission:
// whoever reads our output slowly must not hold up the cluster. What does not
// fit into the queue is counted on the next line. It runs while [DecisionLog.Start]
// does.
type DecisionLog struct {
	out   io.Writer
	queue chan Decision
	lost  atomic.Int64
	held  atomic.Int64 // bytes of objects in the queue
}

// NewDecisionLog returns a log that writes to out.
func NewDecisionLog(out io.Writer) *DecisionLog {
	return &DecisionLog{out: out, queue: make(chan Decision, maxQueued)}
}

// NeedLeaderElection is false: every replica writes what it decides.
func (l *DecisionLog) NeedLeaderElection() bool { return false }

// Start writes until ctx is done, and then what waits.
func (l *DecisionLog) Start(ctx context.Context) error {
	for {
		select {
		case d := <-l.queue:
			l.write(d)
		case <-ctx.Done():
			for {
				select {
				case d := <-l.queue:
					l.write(d)
				default:
					return nil
				}
			}
		}
	}
}

// Add queues what was decided without a request. It never blocks; a nil log takes
// nothing.
func (l *DecisionLog) Add(d Decision) { l.add(d) }

// AddSpare is [DecisionLog.Add] for what can be found out again: it takes no more than
// half of the queue, so that a flood of it crowds out no decision on a request. Objects
// that are too large are left out.
func (l *DecisionLog) AddSpare(d Decision) {
	if l == nil {
		return
	}
	if len(l.queue) >= cap(l.queue)/2 {
		l.lost.Add(1)
		return
	}
	if !recordable(d.Object) {
		d.Object = nil
	}
	l.add(d)
}

// add queues a decision. It never blocks.
func (l *DecisionLog) add(d Decision) (queued bool) {
	if l == nil {
		return true
	}
	l.hold(&d)
	select {
	case l.queue <- d:
		return true
	default:
		l.release(d)
		l.lost.Add(1)
		return false
	}
}

func (l *DecisionLog) write(d Decision) {
	defer l.release(d)
	d.Lost = l.lost.Swap(0)
	line, err := json.Marshal(d)
	if err == nil {
		_, err = l.out.Write(append(line, '\n'))
	}
	if err != nil {
		l.lost.Add(d.Lost + 1)
	}
}
