package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// A Reason is a stable code for why a repository could not be read. Its text is
// the reason that findings carry.
type Reason string

// The reasons of an [Error].
const (
	// SourceUnavailable means that the remote gave no usable answer: network,
	// authentication, missing branch, timeout, unknown protocol.
	SourceUnavailable Reason = "SourceUnavailable"
	// LimitExceeded means that the remote sent more than [Limits] allow.
	LimitExceeded Reason = "LimitExceeded"
	// MalformedObject means that the remote broke the format of a pack, an
	// object or a reference.
	MalformedObject Reason = "MalformedObject"
	// IncompleteHistory means that the remote holds back objects that the
	// branch needs, as a shallow repository does.
	IncompleteHistory Reason = "IncompleteHistory"
	// HashMismatch means that the local clone is damaged: an object's content
	// is not what its name says. The next fetch replaces the clone.
	HashMismatch Reason = "HashMismatch"
)

var (
	// ErrInvalidURL means that a repository URL is refused; see [ParseURL].
	ErrInvalidURL = errors.New("invalid repository URL")
	// ErrInvalidAuth means that a Secret does not fit; see [AuthFromSecret].
	ErrInvalidAuth = errors.New("invalid Git credentials")
	// ErrReadOnly is returned by the methods of [Objects] that would write.
	ErrReadOnly = errors.New("the object store is read-only")
)

// An Error says why an operation on a repository failed. It never holds a
// credential.
type Error struct {
	// Op is what was attempted: "list", "fetch", "read", "store".
	Op string
	// URL is the canonical URL of the repository.
	URL    string
	Reason Reason
	// RetryAfter is how long the server asked to be left alone; 0 if it did
	// not.
	RetryAfter time.Duration
	// Err is the cause.
	Err error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %s: %s: %v", e.Op, e.URL, e.Reason, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// problem is the cause of an Error before it is known to which operation and
// URL it belongs.
type problem struct {
	reason     Reason
	retryAfter time.Duration
	err        error
}

func (p *problem) Error() string { return p.err.Error() }

func (p *problem) Unwrap() error { return p.err }

func problemf(r Reason, format string, args ...any) error {
	return &problem{reason: r, err: fmt.Errorf(format, args...)}
}

func unavailable(format string, args ...any) error {
	return problemf(SourceUnavailable, format, args...)
}

func limitExceeded(format string, args ...any) error {
	return problemf(LimitExceeded, format, args...)
}

func malformed(format string, args ...any) error { return problemf(MalformedObject, format, args...) }

// wrap turns an error into an [*Error] for a repository. Text that holds one of
// the secrets is cut off from its cause and blacked out.
func wrap(op, url string, secrets []string, err error) error {
	if err == nil {
		return nil
	}
	var done *Error
	if errors.As(err, &done) {
		return err
	}
	e := &Error{Op: op, URL: url, Reason: SourceUnavailable, Err: err}
	var p *problem
	if errors.As(err, &p) {
		e.Reason, e.RetryAfter = p.reason, p.retryAfter
	}
	if errors.Is(err, context.DeadlineExceeded) {
		e.Reason = SourceUnavailable
	}
	if text := err.Error(); redact(text, secrets) != text {
		e.Err = errors.New(redact(text, secrets))
	}
	return e
}

func redact(text string, secrets []string) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "[redacted]")
		}
	}
	return text
}

// maxRemoteText bounds how much of a server's own words an error repeats.
const maxRemoteText = 200

// remoteText makes a server's words fit for one line of a log.
func remoteText(b []byte) string {
	s := strings.ToValidUTF8(strings.TrimSpace(string(b[:min(len(b), 4*maxRemoteText)])), "?")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > maxRemoteText {
		s = string(r[:maxRemoteText]) + "…"
	}
	return s
}
