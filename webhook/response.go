package webhook

import (
	"encoding/json"
	"net/http"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

const (
	// retryAfterSeconds is when to ask again about what is pending.
	retryAfterSeconds = 1
	// maxWarnings and maxCauses bound what a client is shown; the decision log
	// has all.
	maxWarnings = 8
	maxCauses   = 8
	// maxText bounds one text in bytes. Clients show it on a terminal.
	maxText = 4 << 10
)

// internalMessage is all that a client learns of a fault of ours.
const internalMessage = "gitgate could not judge this request because of a fault of its own, so it is refused: see gitgate's log"

// failed answers where no decider could.
func failed(reason verdict.Reason, pending bool, message string) lock.Answer {
	severity := verdict.Deny
	if pending {
		severity = verdict.Undetermined
	}
	return lock.Answer{
		Pending: pending, Reason: reason, Message: message,
		Findings: []verdict.Finding{{
			Stage: verdict.StageAdmission, Reason: reason, Severity: severity, Message: message,
		}},
	}
}

// encode writes the review that answers request uid.
func encode(uid types.UID, a lock.Answer) ([]byte, error) {
	return json.Marshal(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Response: &admissionv1.AdmissionResponse{
			UID: uid, Allowed: a.Allowed, Result: status(a),
			Warnings: warnings(a), AuditAnnotations: annotations(a),
		},
	})
}

// status is nil for what is allowed.
func status(a lock.Answer) *metav1.Status {
	if a.Allowed {
		return nil
	}
	reason := a.Reason
	if reason == "" {
		reason = verdict.Internal // the zero answer denies, and says that nobody meant it
	}
	message := text(a.Message)
	if message == "" {
		message = internalMessage
	}
	s := &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusForbidden,
		Reason: metav1.StatusReason(reason), Message: message,
	}
	if a.Pending {
		s.Code = http.StatusServiceUnavailable
		s.Details = &metav1.StatusDetails{RetryAfterSeconds: retryAfterSeconds}
		return s
	}
	for _, f := range a.Findings {
		if !f.Severity.Blocks() || f.Field == "" {
			continue
		}
		if s.Details == nil {
			s.Details = &metav1.StatusDetails{}
		}
		s.Details.Causes = append(s.Details.Causes, metav1.StatusCause{
			Type: metav1.CauseType(f.Reason), Message: text(f.Message), Field: text(f.Field),
		})
		if len(s.Details.Causes) == maxCauses {
			break
		}
	}
	return s
}

func warnings(a lock.Answer) []string {
	var out []string
	for _, w := range a.Warnings[:min(len(a.Warnings), maxWarnings)] {
		out = append(out, strings.ReplaceAll(text(w), "\n", " "))
	}
	return out
}

// annotations put the decision into the audit log of the API server.
func annotations(a lock.Answer) map[string]string {
	out := map[string]string{}
	for key, value := range map[string]string{
		"reason": string(a.Reason), "matched": string(a.Matched), "mode": string(a.Mode),
		"grant": a.Grant, "revision": a.Revision,
	} {
		if value != "" {
			out[key] = text(value)
		}
	}
	if a.Sync.Name != "" {
		out["gitsync"] = a.Sync.String()
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// text makes s valid UTF-8 of bounded length.
func text(s string) string {
	const more = " ..."
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText-len(more)], "") + more
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// uniform leaves out what differs between two refused values of a Secret. Where
// nobody proves to be the API server, anybody on the network may try values.
func uniform(req *admissionv1.AdmissionRequest, a lock.Answer) lock.Answer {
	if a.Allowed || a.Pending || req.Resource.Group != "" || req.Resource.Resource != "secrets" {
		return a
	}
	a.Message = "Secret " + req.Namespace + "/" + req.Name + " is not what Git says it must be, or may not be written at all: " +
		"change it in Git; gitgate's decision log has the details"
	a.Findings, a.Warnings = nil, nil
	return a
}
