package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/spf13/cobra"
)

// A revisionRange is one commit, or all that to has and from has not.
type revisionRange struct {
	from, to plumbing.Hash
	ranged   bool
}

func (r *gitRepository) parseRange(arg string) (revisionRange, error) {
	if strings.Contains(arg, "...") {
		return revisionRange{}, fmt.Errorf("%s: symmetric differences are not supported: use A..B", arg)
	}
	from, to, ranged := strings.Cut(arg, "..")
	if !ranged {
		h, err := r.resolve(arg)
		return revisionRange{to: h}, err
	}
	out := revisionRange{ranged: true}
	var err error
	if out.from, err = r.resolve(orHead(from)); err != nil {
		return out, err
	}
	out.to, err = r.resolve(orHead(to))
	return out, err
}

func orHead(rev string) string {
	if rev == "" {
		return "HEAD"
	}
	return rev
}

var revisionForm = regexp.MustCompile(`^(.+?)((?:~[0-9]*|\^[0-9]*|\^\{commit\})*)$`)
var revisionStep = regexp.MustCompile(`~[0-9]*|\^[0-9]+|\^\{commit\}|\^`)

// resolve finds the commit that a revision names (gitrevisions(7), without the
// reflog and searches).
func (r *gitRepository) resolve(rev string) (plumbing.Hash, error) {
	parts := revisionForm.FindStringSubmatch(rev)
	if parts == nil || strings.HasPrefix(rev, "-") {
		return plumbing.ZeroHash, fmt.Errorf("unknown revision %q", rev)
	}
	h, err := r.lookup(parts[1])
	if err == nil {
		h, err = r.peel(h)
	}
	for _, step := range revisionStep.FindAllString(parts[2], -1) {
		if err != nil {
			break
		}
		h, err = r.step(h, step)
	}
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("revision %q: %w", rev, err)
	}
	return h, nil
}

// lookup finds the object of a name: a full hash, a ref, or a short hash.
func (r *gitRepository) lookup(name string) (plumbing.Hash, error) {
	if plumbing.IsHash(name) {
		return plumbing.NewHash(name), nil
	}
	if name == "@" {
		name = "HEAD"
	}
	for _, form := range plumbing.RefRevParseRules {
		full := plumbing.ReferenceName(fmt.Sprintf(form, name))
		if ref, err := storer.ResolveReference(r.refs, full); err == nil {
			return ref.Hash(), nil
		}
	}
	return r.lookupShort(strings.ToLower(name))
}

func (r *gitRepository) lookupShort(prefix string) (plumbing.Hash, error) {
	unknown := errors.New("no such branch, tag or commit")
	if len(prefix) < 4 || len(prefix) > 40 || strings.Trim(prefix, "0123456789abcdef") != "" {
		return plumbing.ZeroHash, unknown
	}
	raw, err := strconv.ParseUint(prefix[:4], 16, 16)
	if err != nil {
		return plumbing.ZeroHash, unknown
	}
	candidates, err := r.objects.withPrefix([]byte{byte(raw >> 8), byte(raw)})
	if err != nil {
		return plumbing.ZeroHash, err
	}
	candidates = slices.DeleteFunc(candidates, func(h plumbing.Hash) bool { return !strings.HasPrefix(h.String(), prefix) || !r.isCommitish(h) })
	slices.SortFunc(candidates, func(a, b plumbing.Hash) int { return bytes.Compare(a[:], b[:]) })
	switch candidates = slices.Compact(candidates); len(candidates) {
	case 0:
		return plumbing.ZeroHash, unknown
	case 1:
		return candidates[0], nil
	}
	return plumbing.ZeroHash, fmt.Errorf("short hash names %d commits: give more digits", len(candidates))
}

func (r *gitRepository) isCommitish(h plumbing.Hash) bool {
	obj, err := r.objects.EncodedObject(plumbing.AnyObject, h)
	return err == nil && (obj.Type() == plumbing.CommitObject || obj.Type() == plumbing.TagObject)
}

// headersOf reads the headers of a commit or tag, well-formed or not: judging it
// is for later.
func (r *gitRepository) headersOf(h plumbing.Hash) (plumbing.ObjectType, []string, error) {
	obj, err := r.objects.EncodedObject(plumbing.AnyObject, h)
	if err != nil {
		return plumbing.InvalidObject, nil, fmt.Errorf("%.12s: %w", h, err)
	}
	reader, err := obj.Reader()
	if err != nil {
		return plumbing.InvalidObject, nil, err
	}
	defer reader.Close() // nothing was written
	raw, err := io.ReadAll(io.LimitReader(reader, 1<<20))
	head, _, _ := bytes.Cut(raw, []byte("\n\n"))
	return obj.Type(), strings.Split(string(head), "\n"), err
}

// peel follows annotated tags to their commit.
func (r *gitRepository) peel(h plumbing.Hash) (plumbing.Hash, error) {
	for range 10 {
		kind, headers, err := r.headersOf(h)
		switch {
		case err != nil:
			return h, err
		case kind == plumbing.CommitObject:
			return h, nil
		case kind != plumbing.TagObject:
			return h, fmt.Errorf("%.12s is a %s, not a commit", h, kind)
		}
		target, ok := strings.CutPrefix(headers[0], "object ")
		if !ok || !plumbing.IsHash(target) {
			return h, fmt.Errorf("%.12s is a malformed tag", h)
		}
		h = plumbing.NewHash(target)
	}
	return h, errors.New("tags nest too deep")
}

// step follows ~N or ^N.
func (r *gitRepository) step(h plumbing.Hash, step string) (plumbing.Hash, error) {
	if step == "^{commit}" {
		return h, nil
	}
	n := 1
	if digits := step[1:]; digits != "" {
		var err error
		if n, err = strconv.Atoi(digits); err != nil {
			return h, fmt.Errorf("%s is too far", step)
		}
	}
	if step[0] == '^' {
		if n == 0 {
			return h, nil
		}
		return r.parent(h, n)
	}
	var err error
	for ; n > 0 && err == nil; n-- {
		h, err = r.parent(h, 1)
	}
	return h, err
}

func (r *gitRepository) parent(h plumbing.Hash, n int) (plumbing.Hash, error) {
	_, headers, err := r.headersOf(h)
	if err != nil {
		return h, err
	}
	for _, line := range headers {
		if p, ok := strings.CutPrefix(line, "parent "); ok && plumbing.IsHash(p) {
			if n--; n == 0 {
				return plumbing.NewHash(p), nil
			}
		}
	}
	return h, fmt.Errorf("%.12s has no such parent", h)
}

// completeRevision offers branches and tags to the shell.
func completeRevision(dir, prefix string) ([]string, cobra.ShellCompDirective) {
	r, err := openGitRepository(dir)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	begin := ""
	if i := strings.LastIndex(prefix, ".."); i >= 0 {
		begin = prefix[:i+2]
	}
	refs, err := r.refs.IterReferences()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	_ = refs.ForEach(func(ref *plumbing.Reference) error { // it fails only if the function does
		if ref.Name().IsBranch() || ref.Name().IsTag() || ref.Name().IsRemote() {
			names = append(names, begin+ref.Name().Short())
		}
		return nil
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}
