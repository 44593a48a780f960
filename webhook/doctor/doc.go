// Package doctor looks at a cluster and says whether gitgate can do its work in
// it, whether it does, and who could go around it.
//
// [Run] only reads. What may not be read, or does not answer, is a check of its
// own with the status unknown: not to know is never taken for being well.
//
// What RBAC says is not all that there is: members of system:masters hold
// certificates and appear nowhere, and other authorizers may grant more. Nor does
// anything here protect; it tells.
package doctor

import (
	"cmp"
	"slices"
)

// A Status is the outcome of a check. The zero value is none: it counts as
// [Unknown].
type Status string

const (
	// OK means that all is as it should be.
	OK Status = "ok"
	// Warn means that it works, and that somebody should know of something.
	Warn Status = "warn"
	// Fail means that it does not work, or does not protect.
	Fail Status = "fail"
	// Unknown means that it could not be found out.
	Unknown Status = "unknown"
)

// rank orders statuses from good to bad.
func (s Status) rank() int {
	switch s {
	case OK:
		return 0
	case Warn:
		return 1
	case Fail:
		return 3
	}
	return 2
}

// A Check is one thing that was looked at.
type Check struct {
	// ID is stable: add, never rename.
	ID     string `json:"id"`
	Status Status `json:"status"`
	// Message says in one line what was found.
	Message string `json:"message"`
	// Details are the objects or subjects that are meant, one a line.
	Details []string `json:"details,omitempty"`
	// Advice says what to do, unless there is nothing to be done.
	Advice string `json:"advice,omitempty"`
}

// A Report is all that was looked at.
type Report struct {
	Checks []Check `json:"checks"`
}

// Status is the worst of all checks: fail, then unknown, then warn. Without any
// check it is unknown.
func (r Report) Status() Status {
	if len(r.Checks) == 0 {
		return Unknown
	}
	return slices.MaxFunc(r.Checks, func(a, b Check) int { return cmp.Compare(a.Status.rank(), b.Status.rank()) }).Status
}

// Count is how many checks have a status.
func (r Report) Count(s Status) int {
	n := 0
	for _, c := range r.Checks {
		if c.Status == s {
			n++
		}
	}
	return n
}
