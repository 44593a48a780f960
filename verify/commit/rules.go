package commit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/go-git/go-git/v5/plumbing"
)

// A rule is a checked [Rule].
type rule struct{ paths, signers []string }

// allowed reports whether signer may change path: the last rule that matches
// decides, and without one nobody may.
func (v *Verifier) allowed(signer, path string) bool {
	for _, r := range slices.Backward(v.rules) {
		if slices.ContainsFunc(r.paths, func(glob string) bool {
			ok, err := doublestar.Match(glob, path)
			return ok && err == nil // globs were checked
		}) {
			return slices.Contains(r.signers, signer)
		}
	}
	return false
}

// allowedEverywhere reports whether signer may change any path there can be: a
// rule for ** lists it, and so does every later rule.
func (v *Verifier) allowedEverywhere(signer string) bool {
	if len(v.rules) == 0 {
		return true
	}
	for _, r := range slices.Backward(v.rules) {
		if !slices.Contains(r.signers, signer) {
			return false
		}
		if slices.Contains(r.paths, "**") {
			return true
		}
	}
	return false
}

// pathsJudged remembers which of a commit's paths its signer may not change.
type pathsJudged struct {
	mu      sync.Mutex
	done    bool
	foreign []string // the first of them
	n       int      // how many they are
}

// maxForeignPaths bounds the problems that one commit can raise.
const maxForeignPaths = 20

// judgePaths holds the paths that a commit changes against the rules. What the
// object store cannot tell now is not remembered.
func (v *Verifier) judgePaths(ctx context.Context, objs *objects, h plumbing.Hash, rec *record) []Problem {
	j := &rec.paths
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.done {
		changed, err := v.changed(ctx, objs, rec)
		if err != nil {
			return []Problem{problemOf(err, h)}
		}
		for _, path := range changed {
			if v.allowed(rec.proof.signer, path) {
				continue
			}
			if j.n++; j.n <= maxForeignPaths {
				j.foreign = append(j.foreign, path)
			}
		}
		j.done = true
	}
	var problems []Problem
	for _, path := range j.foreign {
		problems = append(problems, Problem{Reason: SignerNotAllowed, Signer: rec.proof.signer, File: path,
			Message: fmt.Sprintf("signer %q may not change %s: let one of %s sign", rec.proof.signer, path, v.owners(path))})
	}
	if more := j.n - len(j.foreign); more > 0 {
		last := &problems[len(problems)-1]
		last.Message += fmt.Sprintf(" (and %d more paths)", more)
	}
	return problems
}

// owners names those who may change path.
func (v *Verifier) owners(path string) string {
	var names []string
	for _, s := range v.cfg.Signers {
		if v.allowed(s.Name, path) {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}
