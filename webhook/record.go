package webhook

import (
	"encoding/json"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/webhook/lock"
)

const (
	// maxRecorded bounds an object in the decision log. A larger one is left out.
	maxRecorded = 128 << 10
	// maxHeld bounds the objects that wait to be written, of all decisions. What does
	// not fit is left out; the decisions themselves are written.
	maxHeld = 64 << 20
)

// objects adds to a decision what the rules saw. What the lock decided they did not
// see: that rests on what Git says, and not on the request alone.
func (s *Server) objects(req *admissionv1.AdmissionRequest, d *Decision) {
	if s.cfg.Objects == nil || s.cfg.Decisions == nil || d.Matched != lock.MatchedOpen || req.Operation == admissionv1.Connect {
		return
	}
	if len(req.Object.Raw) > maxRecorded || len(req.OldObject.Raw) > maxRecorded {
		return
	}
	object, old := s.cfg.Objects(req)
	if !recordable(object) || !recordable(old) {
		return
	}
	// The request aliases a body whose memory is given back.
	d.Object, d.OldObject = slices.Clone(object), slices.Clone(old)
}

// recordable reports whether a line of JSON may hold raw, or nothing in its place.
func recordable(raw []byte) bool { return len(raw) <= maxRecorded && (raw == nil || json.Valid(raw)) }

// hold counts the objects of a decision that is about to wait, and leaves them out
// where too many do.
func (l *DecisionLog) hold(d *Decision) {
	n := int64(len(d.Object) + len(d.OldObject))
	if n > 0 && l.held.Add(n) > maxHeld {
		l.held.Add(-n)
		d.Object, d.OldObject = nil, nil
	}
}

func (l *DecisionLog) release(d Decision) { l.held.Add(-int64(len(d.Object) + len(d.OldObject))) }
