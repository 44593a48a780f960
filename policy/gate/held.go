package gate

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/verify/commit"
	"gitgate.dev/gitgate/verify/image"
)

// A HoldRequest names a revision that the gate refuses, and that is in force
// nevertheless.
type HoldRequest struct {
	// Revision names it for people, as in main@sha1:<hash>.
	Revision string
	// Objects is where the repository's objects are. They must be safe for
	// concurrent use.
	Objects storer.EncodedObjectStorer
	Head    plumbing.Hash
}

// A Held is what a refused revision declares. It says by what live objects may be
// held, and what they go back to for who applied it himself while it passed. It is no
// [Release], and no other part of the product makes one of it. The zero value holds no
// object.
type Held struct {
	revision string
	verified bool
	objects  []HeldObject
}

// A HeldObject is an object of a [Held].
type HeldObject struct {
	// Object is the object with its plaintext and with pinned images. Handle with care.
	Object
	// Images is what the gate in force has proven of its images. An image that Git
	// itself names by its digest may be without.
	Images []image.Evidence
	// Unknown is why its content cannot be told: an image was not resolved, a file not
	// decrypted. Object is then only good for its name.
	Unknown *verdict.Finding
	// Resolved means that the digest of an image is what its registry says now, which
	// need not be what it said when the revision passed.
	Resolved bool
}

// Revision names the revision, as in main@sha1:<hash>.
func (h *Held) Revision() string { return h.revision }

// Verified reports whether its commits are signed as the gate in force demands. If not
// anybody may have written what it declares.
func (h *Held) Verified() bool { return h.verified }

// Objects returns the objects. They are shared.
func (h *Held) Objects() []HeldObject { return h.objects }

// Hold reads what a revision declares that [Gate.Admit] has refused, for a lock that
// must not open because of that. Rules, exceptions, budgets and what a revision may
// declare are not asked again; commits are, and their answer is in [Held.Verified]. An
// object of which an image or a secret cannot be told is among the others, and says so.
// The findings are why there is no Held, undetermined where a later attempt may bring
// one. It neither waits for [Gate.Admit] nor keeps it waiting.
func (g *Gate) Hold(ctx context.Context, req HoldRequest) (held *Held, why []verdict.Finding) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			held, why = nil, []verdict.Finding{{
				Reason: verdict.Internal, Severity: verdict.Undetermined,
				Message: fmt.Sprintf("revision %s could not be read: internal error (%s): this is a bug in gitgate, please report it", req.Revision, panicSite(p)),
			}}
		}
	}()
	var tree fs.FS
	proven, _ := g.wasInForce(ctx, req.Objects, req.Head)
	if proven != nil {
		tree = proven
	} else {
		unverified, err := commit.Unverified(req.Objects, req.Head)
		if err != nil {
			return nil, []verdict.Finding{{
				Stage: verdict.StageCommit, Reason: verdict.IncompleteHistory, Severity: verdict.Deny,
				Message: fmt.Sprintf("revision %s cannot be read: %v", req.Revision, err),
			}}
		}
		tree = unverified
	}
	objects, findings := g.cfg.Renderer.Render(ctx, tree)
	if err := ctx.Err(); err != nil {
		return nil, []verdict.Finding{{
			Stage: verdict.StageRender, Reason: verdict.NotReady, Severity: verdict.Undetermined,
			Message: fmt.Sprintf("revision %s was not read in time", req.Revision),
		}}
	}
	if len(objects) == 0 {
		return nil, bounded(findings)
	}
	return &Held{revision: req.Revision, verified: proven != nil, objects: g.holdAll(ctx, objects)}, nil
}

// holdAll pins and decrypts objects, each for itself.
func (g *Gate) holdAll(ctx context.Context, objects []Object) []HeldObject {
	leaves := make([][]imageLeaf, len(objects))
	out := make([]HeldObject, len(objects))
	wanted := map[string]bool{}
	for i, o := range objects {
		out[i].Object = o
		var faults []verdict.Finding
		if leaves[i], faults = g.extractors.images(o); len(faults) > 0 {
			out[i].Unknown = &faults[0]
			continue
		}
		for _, l := range leaves[i] {
			wanted[l.ref] = true
		}
	}
	answers := (&admission{gate: g}).proveAll(ctx, wanted)
	for i := range out {
		h := &out[i]
		if h.Unknown == nil {
			h.pin(leaves[i], answers)
		}
		if h.Unknown != nil {
			continue
		}
		plain, findings := g.decrypt(ctx, []Object{h.Object})
		h.Object = plain[0]
		if len(findings) > 0 {
			h.Unknown = &findings[0]
		}
	}
	return out
}

// pin replaces images by what was proven. One that is not proven any more is known
// nevertheless where Git names the digest.
func (h *HeldObject) pin(leaves []imageLeaf, answers map[string]imageAnswer) {
	pinned := h.Unstructured
	for _, l := range leaves {
		answer := answers[l.ref]
		_, digest, err := image.Parse(l.ref)
		if answer.err == nil {
			h.Resolved = h.Resolved || err != nil || digest == ""
			h.Images = append(h.Images, answer.evidence)
			if want := answer.evidence.Pinned(); want != l.ref {
				if pinned == h.Unstructured {
					pinned = h.DeepCopy()
				}
				setString(pinned.Object, l.path, want)
			}
			continue
		}
		if err != nil || digest == "" {
			f := h.finding(imageFinding(l, answer.err))
			h.Unknown = &f
			return
		}
	}
	h.Unstructured = pinned
}
