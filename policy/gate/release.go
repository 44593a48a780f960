package gate

import (
	"slices"

	"gitgate.dev/gitgate/verify/commit"
	"gitgate.dev/gitgate/verify/image"
)

// A Candidate has passed the gates that need no cluster: its images are pinned
// and its secrets decrypted. It exists only so that the cluster can be asked; it
// cannot be applied. Only a [Gate] mints it.
type Candidate struct {
	revision string
	commit   commit.Info
	objects  []Object
	declared []Object
	images   []image.Evidence
}

// Objects returns the objects with their plaintext. Handle with care.
func (c *Candidate) Objects() []Object { return slices.Clone(c.objects) }

// Revision names the revision, as in main@sha1:<hash>.
func (c *Candidate) Revision() string { return c.revision }

// A Release is a revision that passed every gate. Only [Gate.Admit] mints it, and
// only from a verdict that allows; the zero value holds no object.
type Release struct {
	candidate Candidate
}

// Objects returns the objects with their plaintext. Handle with care.
func (r *Release) Objects() []Object { return r.candidate.Objects() }

// Declared returns the objects as Git declares them, secrets still encrypted,
// images pinned.
func (r *Release) Declared() []Object { return slices.Clone(r.candidate.declared) }

// Revision names the revision, as in main@sha1:<hash>.
func (r *Release) Revision() string { return r.candidate.revision }

// Commit returns the verified head commit.
func (r *Release) Commit() commit.Info { return r.candidate.commit }

// Images returns the evidence for every image of the release, each once.
func (r *Release) Images() []image.Evidence { return slices.Clone(r.candidate.images) }

// Applied returns what is left of the release once it is applied: it holds no
// plaintext.
func (r *Release) Applied() *Applied {
	return &Applied{revision: r.candidate.revision, declared: r.candidate.declared}
}

// An Applied is a release without its plaintext. [Gate.Reopen] decrypts single
// objects of it again.
type Applied struct {
	revision string
	declared []Object
}

// Revision names the revision, as in main@sha1:<hash>.
func (a *Applied) Revision() string { return a.revision }

// Declared returns the objects as Git declares them, secrets still encrypted,
// images pinned.
func (a *Applied) Declared() []Object { return slices.Clone(a.declared) }
