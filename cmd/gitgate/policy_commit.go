package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/render"
	"gitgate.dev/gitgate/verify/commit"
)

// policyCommit holds the flags of eval that name a commit.
type policyCommit struct {
	revision, repo, path string
	signers              []string
}

func (o *policyCommit) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.revision, "commit", "", "judge what this `REV` makes of its first parent")
	f.StringVar(&o.repo, "repo", ".", "`DIR` of the repository of --commit, bare or with a work tree")
	f.StringVar(&o.path, "path", "", "`DIR` of the repository that --commit renders; by default all of it")
	f.StringArrayVar(&o.signers, "signer", nil, "`NAME` that input.commit.signers holds for --commit; may be repeated")
	// These fail for flags that do not exist alone.
	_ = cmd.MarkFlagDirname("repo")
	_ = cmd.RegisterFlagCompletionFunc("commit", func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return completeRevision(o.repo, prefix)
	})
}

func (o *policyCommit) check() error {
	if o.revision == "" && (o.path != "" || len(o.signers) > 0) {
		return errors.New("--path and --signer are of --commit: name one")
	}
	return nil
}

// open finds the commit.
func (o *policyCommit) open() (string, objectSource, error) {
	repo, err := openGitRepository(o.repo)
	if err != nil {
		return "", nil, err
	}
	hash, err := repo.resolve(o.revision)
	if err != nil {
		return "", nil, fmt.Errorf("--commit: %w", err)
	}
	head, err := object.GetCommit(repo.objects, hash)
	if err != nil {
		return "", nil, fmt.Errorf("--commit %s: %w", o.revision, err)
	}
	return reconcile.Revision(o.revision, hash), func(ctx context.Context, judge func(policy.Input) error) ([]verdict.Finding, error) {
		return o.judge(ctx, repo, head, judge)
	}, nil
}

// judge hands on what a commit makes of its first parent.
func (o *policyCommit) judge(ctx context.Context, repo *gitRepository, head *object.Commit, judge func(policy.Input) error) ([]verdict.Finding, error) {
	var parent *object.Commit
	if len(head.ParentHashes) > 0 {
		var err error
		if parent, err = object.GetCommit(repo.objects, head.ParentHashes[0]); err != nil {
			return nil, fmt.Errorf("the first parent of %s: %w", head.Hash, err)
		}
	}
	return o.between(ctx, repo, head, parent, judge)
}

// between renders a commit and what was before it, nil for nothing, and hands on what
// differs and what does not.
func (o *policyCommit) between(ctx context.Context, repo *gitRepository, head, parent *object.Commit, judge func(policy.Input) error) ([]verdict.Finding, error) {
	after, problems, err := o.render(ctx, repo, head.Hash)
	if err != nil {
		return nil, err
	}
	var before []gate.Object
	if parent != nil {
		if before, _, err = o.render(ctx, repo, parent.Hash); err != nil { // what was wrong then is not this commit's
			return nil, err
		}
	}
	about, err := o.about(ctx, head, parent)
	if err != nil {
		return nil, err
	}
	old := byID(before)
	for _, obj := range after {
		in := policy.Input{Operation: policy.Create, ObjectID: obj.ID(), File: obj.Source.File, Line: obj.Source.Line, Commit: about}
		if was, ok := old[obj.ID()]; ok {
			in.Operation = policy.Update
			if in.OldObject, err = json.Marshal(was); err != nil {
				return nil, err
			}
			delete(old, obj.ID())
		}
		if in.Object, err = json.Marshal(obj.Object); err != nil {
			return nil, err
		}
		if err := judge(in); err != nil {
			return nil, err
		}
	}
	return problems, o.deletions(before, old, about, judge)
}

// deletions hands on what the commit drops.
func (o *policyCommit) deletions(before []gate.Object, gone map[string]map[string]any, about *policy.Commit, judge func(policy.Input) error) error {
	for _, obj := range before {
		if gone[obj.ID()] == nil {
			continue
		}
		raw, err := json.Marshal(obj.Object)
		if err != nil {
			return err
		}
		in := policy.Input{Operation: policy.Delete, ObjectID: obj.ID(), OldObject: raw, File: obj.Source.File, Line: obj.Source.Line, Commit: about}
		if err := judge(in); err != nil {
			return err
		}
	}
	return nil
}

func (o *policyCommit) render(ctx context.Context, repo *gitRepository, hash plumbing.Hash) ([]gate.Object, []verdict.Finding, error) {
	files, err := commit.Unverified(repo.objects, hash)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", hash, err)
	}
	objects, found := render.Render(ctx, files, render.Options{Path: o.path})
	return objects, slices.DeleteFunc(found, func(f verdict.Finding) bool { return f.Reason == verdict.EmptyRelease }), nil
}

// about is input.commit. Nobody has verified anything of it.
func (o *policyCommit) about(ctx context.Context, head, parent *object.Commit) (*policy.Commit, error) {
	out := &policy.Commit{
		SHA: head.Hash.String(), Author: fmt.Sprintf("%s <%s>", head.Author.Name, head.Author.Email),
		Message: head.Message, Signers: o.signers,
	}
	tree, err := head.Tree()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", head.Hash, err)
	}
	former := &object.Tree{}
	if parent != nil {
		if former, err = parent.Tree(); err != nil {
			return nil, fmt.Errorf("reading %s: %w", parent.Hash, err)
		}
	}
	changes, err := object.DiffTreeContext(ctx, former, tree)
	if err != nil {
		return nil, fmt.Errorf("comparing %s with its parent: %w", head.Hash, err)
	}
	for _, c := range changes {
		for _, name := range []string{c.From.Name, c.To.Name} {
			if name != "" && !slices.Contains(out.Paths, name) {
				out.Paths = append(out.Paths, name)
			}
		}
	}
	slices.Sort(out.Paths)
	return out, nil
}
