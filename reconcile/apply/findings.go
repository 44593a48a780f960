package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"unicode"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// maxMessage bounds what is quoted of the API server, in bytes.
const maxMessage = 600

// A subject is what a finding is about.
type subject struct {
	object string
	source gate.Source
	secret bool
	as     Identity
}

func (s subject) finding(reason verdict.Reason, format string, args ...any) verdict.Finding {
	return verdict.Finding{
		Stage: verdict.StageApply, Reason: reason, Severity: verdict.Deny,
		Object: s.object, File: s.source.File, Line: s.source.Line,
		Message: oneLine(fmt.Sprintf(format, args...)),
	}
}

// rejected turns an error of the API server into a finding. What it says of a
// Secret is withheld but for the fields it names, for it may quote values.
func (s subject) rejected(err error) verdict.Finding {
	var api apierrors.APIStatus
	if !errors.As(err, &api) || passing(err) {
		return s.unanswered(err)
	}
	status := api.Status()
	if status.Code == http.StatusUnauthorized { // our own credentials, not the object
		return s.unanswered(err)
	}
	f := s.finding(verdict.DryRunRejected, "%s", status.Message)
	if status.Details != nil && len(status.Details.Causes) > 0 {
		f.Field = oneLine(status.Details.Causes[0].Field)
	}
	switch {
	case status.Reason == metav1.StatusReasonConflict:
		f.Reason = verdict.Conflict
	case malformed(status):
		f.Reason = verdict.SchemaInvalid
		if f.Field == "" {
			f.Field = quotedField(status.Message)
		}
	case status.Reason == metav1.StatusReasonForbidden:
		f.Message += "; applied as " + s.as.String()
	}
	if s.secret {
		f.Message = fmt.Sprintf("the API server refused this Secret (%d %s); its words are withheld because they may quote values",
			status.Code, status.Reason)
		if f.Reason == verdict.SchemaInvalid {
			f.Field = ""
		}
	}
	return f
}

// unanswered says that the server could not be asked, or did not know.
func (s subject) unanswered(err error) verdict.Finding {
	f := s.finding(verdict.NotReady, "the API server could not judge this object: %v; it will be tried again", err)
	f.Severity = verdict.Undetermined
	if s.secret {
		f.Message = "the API server could not judge this Secret; it will be tried again"
	}
	if errors.Is(err, context.Canceled) {
		f.Message = "interrupted before this object was done"
	}
	return f
}

// malformed reports whether the manifest does not fit its schema.
func malformed(status metav1.Status) bool {
	if status.Reason == metav1.StatusReasonBadRequest && strings.Contains(status.Message, "strict decoding error") {
		return true
	}
	return strings.Contains(status.Message, "failed to create typed patch object") ||
		strings.Contains(status.Message, "field not declared in schema")
}

var fieldInMessage = regexp.MustCompile(`(?:unknown field "|duplicate field ")([^"]{1,200})"|\.([A-Za-z0-9_.\[\]="-]{1,200}): field not declared`)

// quotedField finds the field that a decoding error names.
func quotedField(message string) string {
	m := fieldInMessage.FindStringSubmatch(message)
	if m == nil {
		return ""
	}
	return m[1] + m[2]
}

// oneLine makes text of others fit to print: one line, bounded, no control
// characters.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return s
}

// planFinding is about the plan as a whole.
func planFinding(reason verdict.Reason, format string, args ...any) verdict.Finding {
	return subject{}.finding(reason, format, args...)
}

func undetermined(f verdict.Finding) verdict.Finding {
	f.Severity = verdict.Undetermined
	return f
}

func warning(f verdict.Finding) verdict.Finding {
	f.Severity = verdict.Warn
	return f
}

func blocks(fs []verdict.Finding) bool {
	for _, f := range fs {
		if f.Severity.Blocks() {
			return true
		}
	}
	return false
}
