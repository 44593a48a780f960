package commit

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// A Verifier judges commits by one [Config]. It remembers what it proved about
// commits by their hash, so that judging a history again costs little. It is
// safe for concurrent use, as long as each store is: see [Request.Objects].
type Verifier struct {
	cfg   Config
	now   func() time.Time
	root  plumbing.Hash // zero when none is pinned
	keys  keyring
	rules []rule
	memo  *memo
}

// A Request asks for a verdict on a head.
type Request struct {
	// Objects is where the repository's objects are. Reads of one call, and of
	// the Tree that it mints, are serialised; go-git's storage must not be used
	// by others at the same time.
	Objects storer.EncodedObjectStorer
	// Head is the commit to judge: not a tag.
	Head plumbing.Hash
	// Base are commits that were judged and in force before. All must be
	// ancestors of Head. Since they and their ancestors are judged at the time of
	// their signature and not at the present, Base must come from a source as
	// trusted as this process's memory; others belong into Ancestors.
	Base []plumbing.Hash
	// Ancestors are further commits that Head must descend from, whoever said so.
	// They win it no leniency.
	Ancestors []plumbing.Hash
	// Tags are raw annotated tag objects. With [RollbackSigned], one whose name
	// begins with gitgate-rollback/, whose object is Head, whose message holds the
	// line «Rollback-From: <base>» with the full hash of the commit in force, and
	// whose signer may change every path, allows Head to be an ancestor of that
	// commit. It is good for [Limits.RollbackAge] after it was signed.
	Tags [][]byte
}

// Verify judges a head and all commits that [Config.Scope] names. The Tree is
// nil unless nothing at all blocks. Work is bounded by [Config.Limits] and ctx;
// what these cut short is refused.
func (v *Verifier) Verify(ctx context.Context, r Request) (*Tree, Report) {
	objs := newObjects(r.Objects, v.cfg.Limits)
	if v.root.IsZero() {
		return nil, Report{Problems: []Problem{{Reason: IncompleteHistory, Commit: r.Head.String(),
			Message: "no root is pinned: say from which commit history counts"}}}
	}
	h := v.history(ctx, objs, r.Head)
	if n := h.nodes[r.Head]; n != nil && n.err != nil {
		// That nothing leads from it to the root would only distract.
		res := refused(r.Head, n.err)
		return nil, Report{Commits: []Result{res}, Problems: res.Problems}
	}
	var report Report
	report.Problems = append(report.Problems, h.problems()...)
	known := map[plumbing.Hash]bool{}
	for _, base := range slices.Concat(r.Base, r.Ancestors) {
		if p := v.forward(ctx, h, r, base, &report); p != nil {
			report.Problems = append(report.Problems, *p)
		} else if slices.Contains(r.Base, base) {
			h.mark(known, base)
			if report.Rollback != "" { // the head is an ancestor of base
				h.mark(known, r.Head)
			}
		}
	}
	report.Commits = v.judgeAll(ctx, objs, h, known)
	for _, c := range report.Commits {
		report.Problems = append(report.Problems, c.Problems...)
	}
	if len(report.Problems) > 0 {
		return nil, report
	}
	tree, err := v.mint(objs, r)
	if err != nil {
		report.Problems = append(report.Problems, problemOf(err, r.Head))
		return nil, report
	}
	return tree, report
}

// VerifyCommit judges one commit alone, at the present time, by keys, author and
// path rules. What came before it is not looked at. The pinned root is good.
func (v *Verifier) VerifyCommit(ctx context.Context, store storer.EncodedObjectStorer, h plumbing.Hash) Result {
	return v.verifyCommit(ctx, newObjects(store, v.cfg.Limits), h)
}

func (v *Verifier) verifyCommit(ctx context.Context, objs *objects, h plumbing.Hash) Result {
	if err := ctx.Err(); err != nil {
		return refused(h, stopped(ctx, h))
	}
	if h == v.root {
		return Result{Commit: h.String(), Status: Good}
	}
	rec, err := v.record(objs, h)
	if err != nil {
		return refused(h, err)
	}
	return v.judge(ctx, objs, h, rec, false)
}

// record returns what the bytes of a commit prove.
func (v *Verifier) record(objs *objects, h plumbing.Hash) (*record, *ObjectError) {
	if rec := v.memo.get(h); rec != nil {
		return rec, nil
	}
	c, err := objs.commit(h)
	if err != nil {
		return nil, err
	}
	return v.prove(h, c), nil
}

func (v *Verifier) prove(h plumbing.Hash, c *commitObject) *record {
	rec := &record{tree: c.tree, parents: c.parents, author: c.author, committer: c.committer}
	switch {
	case c.signature == "":
		rec.proof.fault = faultf(UnsignedCommit, "commit by %s is not signed", c.committer)
	case c.signatureHeader != "gpgsig":
		rec.proof.fault = faultf(UnsupportedSignature, "signature in header %s, over the commit's SHA-256 form", c.signatureHeader)
	default:
		rec.proof = v.keys.prove(c.signature, c.payload())
	}
	return v.memo.add(h, rec)
}

func (id Identity) String() string { return fmt.Sprintf("%s <%s>", id.Name, id.Email) }

// judge asks what time, forge, author and paths have to say of a proof. A known
// commit was in force before; see the package comment.
func (v *Verifier) judge(ctx context.Context, objs *objects, h plumbing.Hash, rec *record, known bool) (res Result) {
	p := &rec.proof
	res = Result{Commit: h.String(), Status: Good, Signer: p.signer, Identity: p.identity,
		KeyType: p.kind, Algorithm: p.algorithm, Fingerprint: p.fingerprint}
	defer func() {
		if r := recover(); r != nil { // a defect must refuse, not end the process
			res.fail(Problem{Reason: MalformedObject, Undetermined: true, Message: fmt.Sprintf("internal error: %v", r)})
		}
	}()
	if f := v.judgeProof(p); f != nil {
		res.fail(Problem{Reason: f.reason, Signer: firstOf(p.signer, p.fingerprint), Message: f.message,
			Undetermined: f.reason == UnsupportedSignature})
		return res
	}
	at := v.now()
	if known {
		if at = p.signed; at.IsZero() {
			at = rec.committer.When
		}
	}
	if f := p.at(at); f != nil {
		res.fail(Problem{Reason: f.reason, Signer: p.signer, Message: f.message})
	}
	if v.cfg.AuthorMustMatchSigner {
		if f := matchAuthor(p, rec.author, rec.committer, at); f != nil {
			res.fail(Problem{Reason: f.reason, Signer: p.signer, Message: f.message})
		}
	}
	if len(v.rules) > 0 {
		for _, problem := range v.judgePaths(ctx, objs, h, rec) {
			res.fail(problem)
		}
	}
	return res
}

// judgeProof says why a proof cannot count at any time, or nil.
func (v *Verifier) judgeProof(p *proof) *fault {
	deny := v.cfg.ForgeKeys == ForgeKeysDeny
	switch {
	case p.forge && deny && (p.fault == nil || p.fault.reason == UntrustedSigner):
		return faultf(ForgeKey, "signed by the key %s of a forge's web flow, which says that the forge merged, not who did: merge and sign on your own machine", p.fingerprint)
	case p.fault != nil:
		return p.fault
	case p.at == nil || p.owns == nil || p.signer == "":
		return faultf(BadSignature, "the signature was not proven")
	}
	return nil
}

// matchAuthor requires that author and committer are the signer: the committer
// made the object, and an author who is somebody else would be taken for its
// source by all who read the history. Where a forge may sign at all, only the
// committer must match: who wrote it is then the forge's word.
func matchAuthor(p *proof, author, committer Identity, at time.Time) *fault {
	who := firstOf(p.identity, p.signer)
	switch {
	case !p.owns(committer.Email, at):
		return faultf(AuthorMismatch, "committer %s is not the signer %s", committer, who)
	case !p.forge && !p.owns(author.Email, at):
		return faultf(AuthorMismatch, "author %s is not the signer %s: let the author sign, or commit under your own name", author, who)
	}
	return nil
}

func firstOf(s ...string) string {
	i := slices.IndexFunc(s, func(s string) bool { return s != "" })
	if i < 0 {
		return ""
	}
	return s[i]
}

// refused makes a Result of an object that could not be read.
func refused(h plumbing.Hash, err *ObjectError) Result {
	r := Result{Commit: h.String(), Status: Bad}
	r.fail(problemOf(err, h))
	return r
}

func problemOf(err *ObjectError, h plumbing.Hash) Problem {
	msg := err.Message
	if err.Object != "" && err.Object != h.String() {
		msg = fmt.Sprintf("object %.12s: %s", err.Object, msg)
	}
	return Problem{Reason: err.Reason, Commit: h.String(), File: err.Path,
		Message: strings.ReplaceAll(msg, "\n", " "), Undetermined: err.Undetermined}
}

// parallel calls do for 0 to n-1 on all processors.
func parallel(n int, do func(int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
