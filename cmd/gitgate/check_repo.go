package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/source"
	"gitgate.dev/gitgate/verify/commit"
)

// A checkedRange is what one check looks at.
type checkedRange struct {
	repo *gitRepository
	// head is the commit to judge; zero for what is not committed, as uncommitted
	// names it.
	head        plumbing.Hash
	uncommitted string
	// base are the commits that count as in force; none for all since the root.
	base []plumbing.Hash
	// files is the tree to judge, about which nothing is proven, and former the one
	// in force; nil without base.
	files, former fs.FS
	unreadable    error  // why there are no files
	note          string // worth telling, if anything
	close         func()
}

// revision names the head as the cluster would.
func (r *checkedRange) revision(branch string) string {
	if r.head.IsZero() {
		return r.uncommitted
	}
	return reconcile.Revision(branch, r.head)
}

// open finds out what to judge for a branch.
func (o *checkOptions) open(ctx context.Context, repo *gitRepository, sync *v1alpha1.GitSync) (*checkedRange, error) {
	r := &checkedRange{repo: repo, close: func() {}}
	head, err := repo.resolve(cmp.Or(o.head, "HEAD"))
	first := o.staged && err != nil && repo.unborn()
	if err != nil && !first {
		return nil, fmt.Errorf("--head: %w", err)
	}
	switch {
	case o.workTree:
		r.uncommitted = "worktree"
		if r.files, r.close, err = repo.workTree(); err != nil {
			return nil, err
		}
	case o.staged:
		r.uncommitted = "index"
		if r.files, err = repo.staged(); err != nil || first {
			return r, err
		}
	default:
		r.head = head
		if r.files, err = commit.Unverified(repo.objects, head); err != nil {
			if r.files, r.unreadable = nil, err; !isObjectError(err) {
				return nil, fmt.Errorf("reading %s: %w", head, err)
			}
		}
	}
	name, base, err := o.baseOf(repo, sync)
	if err != nil || base.IsZero() {
		return r, err
	}
	if r.base, err = commit.MergeBases(ctx, repo.objects, base, head); isObjectError(err) {
		r.base, err = []plumbing.Hash{base}, nil // the gate says what is wrong with the history
	}
	if err != nil {
		return r, fmt.Errorf("looking for what %s and %s have in common: %w", name, cmp.Or(o.head, "HEAD"), err)
	}
	if len(r.base) == 0 {
		return r, fmt.Errorf("%s and %s have no commit in common: name the base that head was made from; a shallow clone has to be deepened first (git fetch --unshallow)",
			name, cmp.Or(o.head, "HEAD"))
	}
	if r.base[0] != base {
		r.note = fmt.Sprintf("%s has commits that head has not: this is the verdict on head as it stands, rebase or merge for that on both", name)
	}
	if r.former, err = commit.Unverified(repo.objects, r.base[0]); err != nil {
		return r, fmt.Errorf("reading %s: %w", r.base[0], err)
	}
	if r.base[0] == r.head {
		r.note = fmt.Sprintf("head adds no commit to %s: no object differs", name)
	}
	return r, nil
}

// isObjectError reports whether the repository itself is at fault, which is the
// gate's to judge.
func isObjectError(err error) bool {
	var wrong *commit.ObjectError
	return errors.As(err, &wrong)
}

// baseOf finds what is in force: what the user says, what the cluster applied
// last, or what the remote has. Without any of them everything since the root that
// the TrustPolicy pins is judged.
func (o *checkOptions) baseOf(repo *gitRepository, sync *v1alpha1.GitSync) (string, plumbing.Hash, error) {
	if o.base == plumbing.ZeroHash.String() {
		return "", plumbing.ZeroHash, nil // so git tells its hooks that a branch was not there
	}
	if o.base != "" {
		h, err := repo.resolve(o.base)
		if err != nil {
			err = fmt.Errorf("--base: %w", err)
		}
		return o.base, h, err
	}
	if applied := reconcile.RevisionHash(sync.Status.LastAppliedRevision); !applied.IsZero() {
		h, err := repo.resolve(applied.String())
		if err != nil {
			err = fmt.Errorf("the cluster applied %s last, which is not in this repository: fetch it, or name --base", applied)
		}
		return "the commit that is applied", h, err
	}
	name := "origin/" + sync.Spec.Ref.Branch
	h, err := repo.resolve("refs/remotes/" + name)
	if err != nil {
		return "", plumbing.ZeroHash, nil // a repository without that remote is no error
	}
	return name, h, nil
}

// workTree opens the files that stand around the repository.
func (r *gitRepository) workTree() (fs.FS, func(), error) {
	dir, err := filepath.Abs(r.dir)
	if err != nil {
		return nil, nil, err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			dir = at
			break
		}
		if at == filepath.Dir(at) {
			return nil, nil, fmt.Errorf("%s has no work tree: leave --worktree away to check commits", r.dir)
		}
	}
	// An os.Root holds on to the directory: nothing outside of it can be opened.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	return root.FS(), func() { _ = root.Close() }, nil // opened for reading
}

// remotes lists the URLs of the remotes.
func (r *gitRepository) remotes() ([]string, error) {
	config, err := r.refs.Config()
	if err != nil {
		return nil, fmt.Errorf("reading the configuration of the repository: %w", err)
	}
	var out []string
	for _, remote := range config.Remotes {
		out = append(out, remote.URLs...)
	}
	return out, nil
}

// sameRepository reports whether two URLs lead to one repository of a forge,
// however it is reached. It only chooses; what is trusted is compared strictly.
func sameRepository(a, b string) bool {
	path := func(raw string) string {
		canonical, err := source.Canonical(raw)
		if err != nil {
			return ""
		}
		u, err := url.Parse(canonical)
		if err != nil {
			return ""
		}
		return u.Hostname() + "/" + strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	}
	return path(a) != "" && path(a) == path(b)
}
