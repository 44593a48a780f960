package gate

import (
	"context"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/verify/commit"
	"gitgate.dev/gitgate/verify/image"
)

// An Earlier names a revision that was in force before another one.
type Earlier struct {
	// Objects is where the repository's objects are. They must be safe for
	// concurrent use.
	Objects storer.EncodedObjectStorer
	// Head is the revision.
	Head plumbing.Hash
	// Within is a head that this gate, or the same one of other rules, let pass: Head
	// must be it, or an ancestor of it.
	Within plumbing.Hash
}

// Images proves what it can of the images of an earlier revision: that it is in the
// verified history, and its images each by the trust in force now. It proves nothing
// else, and nothing that could be applied comes of it. What is left out is in the
// findings, undetermined where a later attempt may prove it. It neither waits for
// [Gate.Admit] nor keeps it waiting.
func (g *Gate) Images(ctx context.Context, e Earlier) (proven []image.Evidence, left []verdict.Finding) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			proven, left = nil, []verdict.Finding{{
				Reason: verdict.Internal, Severity: verdict.Undetermined,
				Message: fmt.Sprintf("an earlier revision could not be read: internal error (%s): this is a bug in gitgate, please report it", panicSite(p)),
			}}
		}
	}()
	tree, left := g.earlierTree(ctx, e)
	if tree == nil {
		return nil, left
	}
	objects, findings := g.cfg.Renderer.Render(ctx, tree)
	if blocks(findings) {
		return nil, bounded(findings)
	}
	wanted := map[string]bool{}
	for _, o := range objects {
		leaves, faults := g.extractors.images(o)
		if len(faults) > 0 {
			left = append(left, faults...)
			continue
		}
		for _, l := range leaves {
			wanted[l.ref] = true
		}
	}
	answers := (&admission{gate: g}).proveAll(ctx, wanted)
	for _, ref := range sortedKeys(wanted) {
		if err := answers[ref].err; err != nil {
			left = append(left, imageFinding(imageLeaf{ref: ref}, err))
			continue
		}
		proven = append(proven, answers[ref].evidence)
	}
	return proven, bounded(left)
}

// earlierTree returns the tree of an earlier revision; nil with what is wrong.
func (g *Gate) earlierTree(ctx context.Context, e Earlier) (*commit.Tree, []verdict.Finding) {
	tree, findings := g.wasInForce(ctx, e.Objects, e.Within, e.Head)
	if tree == nil || e.Head == e.Within {
		return tree, findings
	}
	return g.wasInForce(ctx, e.Objects, e.Head)
}

// wasInForce verifies a head that was in force, and that others were before it. All
// are judged at the time of their signatures.
func (g *Gate) wasInForce(ctx context.Context, objects storer.EncodedObjectStorer, head plumbing.Hash, before ...plumbing.Hash) (*commit.Tree, []verdict.Finding) {
	tree, report := g.cfg.Commits.Verify(ctx, commit.Request{Objects: objects, Head: head, Base: append(before, head)})
	findings := commitFindings(report)
	if tree == nil && len(findings) == 0 {
		findings = append(findings, verdict.Finding{
			Reason: verdict.Internal, Severity: verdict.Undetermined,
			Message: "the commit stage gave neither a tree nor a reason",
		})
	}
	if blocks(findings) {
		return nil, bounded(findings)
	}
	return tree, nil
}
