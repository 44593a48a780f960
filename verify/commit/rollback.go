package commit

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// rollbackPrefix begins the names of tags that allow to go back.
const rollbackPrefix = "gitgate-rollback/"

// forward says why the move from base to the head is not allowed, or nil.
func (v *Verifier) forward(ctx context.Context, h *history, r Request, base plumbing.Hash, report *Report) *Problem {
	if h.contains(base) {
		return nil
	}
	objs := newObjects(r.Objects, v.cfg.Limits)
	if h.below == nil {
		h.below = v.ancestors(ctx, objs)
	}
	if h.reached && h.below[base] {
		return nil
	}
	p := &Problem{Reason: NonFastForward, Commit: r.Head.String(),
		Message: fmt.Sprintf("does not descend from %.12s, which is in force: rebase onto it, or revert with a new commit", base)}
	if v.cfg.Rollback != RollbackSigned {
		return p
	}
	if !v.descends(ctx, objs, base, r.Head) {
		p.Message += "; only an ancestor of it can be rolled back to"
		return p
	}
	why := fmt.Sprintf("; to roll back, push a signed tag %s<name> on this commit with the line «Rollback-From: %s»", rollbackPrefix, base)
	for _, raw := range r.Tags {
		name, f := v.rollbackTag(raw, r.Head, base)
		if f == nil {
			report.Rollback = name
			return nil
		}
		if name != "" {
			why = fmt.Sprintf("; tag %s does not allow it: %s: %s", name, f.reason, f.message)
		}
	}
	p.Message += why
	return p
}

// descends reports whether commit is to's descendant, looking no further than
// the root.
func (v *Verifier) descends(ctx context.Context, objs *objects, commit, to plumbing.Hash) bool {
	seen := map[plumbing.Hash]bool{}
	for todo := []plumbing.Hash{commit}; len(todo) > 0 && ctx.Err() == nil && len(seen) < objs.limits.Commits; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at == to {
			return true
		}
		if seen[at] || at == v.root {
			continue
		}
		seen[at] = true
		if c, err := objs.commit(at); err == nil {
			todo = append(todo, c.parents...)
		}
	}
	return false
}

// rollbackTag says why a tag does not allow to go from base back to head. The
// name is empty for tags that do not concern this move.
func (v *Verifier) rollbackTag(raw []byte, head, base plumbing.Hash) (string, *fault) {
	if int64(len(raw)) > v.cfg.Limits.CommitBytes {
		return "", faultf(LimitExceeded, "tag of %d bytes", len(raw))
	}
	t, err := parseTag(raw)
	if err != nil {
		return "", faultf(err.Reason, "%s", err.Message)
	}
	if !strings.HasPrefix(t.name, rollbackPrefix) || t.target != head || t.kind != "commit" {
		return "", faultf(MalformedObject, "not a rollback of this commit")
	}
	trailer := "Rollback-From: " + base.String()
	if !slices.Contains(strings.Split(string(t.body()), "\n"), trailer) {
		return t.name, faultf(NonFastForward, "its message lacks the line «%s»", trailer)
	}
	if t.signature == "" {
		return t.name, faultf(UnsignedCommit, "the tag is not signed")
	}
	return t.name, v.judgeTag(t)
}

// judgeTag holds a tag to what is asked of commits, and its signer to more: to
// go back changes every path.
func (v *Verifier) judgeTag(t *tagObject) *fault {
	p := v.keys.prove(t.signature, t.signed)
	if f := v.judgeProof(&p); f != nil {
		return f
	}
	now := v.now()
	if f := p.at(now); f != nil {
		return f
	}
	if v.cfg.AuthorMustMatchSigner && !p.owns(t.tagger.Email, now) {
		return faultf(AuthorMismatch, "tagger %s is not the signer %s", t.tagger, firstOf(p.identity, p.signer))
	}
	if !v.allowedEverywhere(p.signer) {
		return faultf(SignerNotAllowed, "signer %q may not change every path", p.signer)
	}
	signed := p.signed
	if signed.IsZero() {
		signed = t.tagger.When
	}
	if age := now.Sub(signed); age > v.cfg.Limits.RollbackAge || age < -clockSkew {
		return faultf(NonFastForward, "it was signed on %s and counts for %s: sign a new one", signed.UTC().Format("2006-01-02 15:04"), v.cfg.Limits.RollbackAge)
	}
	return nil
}
