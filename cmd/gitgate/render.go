package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/render"
	"gitgate.dev/gitgate/secrets"
	"gitgate.dev/gitgate/verify/commit"
)

func newRenderCommand() *cobra.Command {
	var o renderOptions
	cmd := &cobra.Command{
		Use:   "render DIR|REV",
		Short: "Print the objects that a tree declares",
		Long: `Render prints the objects that a directory, or a commit, declares, as the
reconciler would apply them: plain YAML and JSON trees, and kustomizations. It
uses no network, runs no program, follows no symbolic link and reads nothing
outside of the repository.

An argument that is a directory is rendered as it is in the work tree, files that
are not committed included. Any other argument is a revision of the repository in
the current directory; with --repo the argument is always a revision. Signatures
are not checked: see verify commit.

Objects go to stdout, each with the file and line that it comes from. What is
wrong goes to stderr, with -o json as one verdict. If anything is refused no
object is printed. Encrypted values stay encrypted.

Exit codes: 0 rendered, 1 refused, 2 wrong use, 3 the tree cannot be read.`,
		Example: `  # what would this directory apply?
  gitgate render clusters/prod

  # what did the last release declare?
  gitgate render v1.4.0 --path clusters/prod

  # which objects does a branch of a bare repository declare?
  gitgate render main --repo config.git -o json | jq -r '.object.kind + " " + .source.file'`,
		GroupID: "gates",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&o.repo, "repo", "", "`directory` of an ordinary or bare repository; the argument is then a revision")
	cmd.Flags().StringVar(&o.path, "path", "", "`directory` to render, from DIR or from the root of the revision")
	cmd.Flags().StringVar(&o.targetNamespace, "target-namespace", "", "`namespace` that overrides that of every namespaced object")
	cmd.Flags().BoolVar(&o.showSecrets, "show-secrets", false, "print the values of Secrets that are not encrypted")
	cmd.Flags().StringVarP(&o.output, "output", "o", "text", "text (YAML) or json")
	return cmd
}

// renderOptions are the flags of `gitgate render`.
type renderOptions struct {
	repo, path, targetNamespace, output string
	showSecrets                         bool
}

func (o *renderOptions) run(ctx context.Context, target string, stdout, stderr io.Writer) error {
	if o.output != "text" && o.output != "json" {
		return fmt.Errorf("-o %s: want text or json", o.output)
	}
	tree, err := o.open(target)
	if err != nil {
		return err
	}
	defer tree.close()
	start := time.Now()
	objects, found := render.Render(ctx, tree.files, render.Options{Path: tree.path, TargetNamespace: o.targetNamespace})
	b := verdict.NewBuilder(tree.revision, verdict.StageRender)
	b.Objects(len(objects))
	b.Stage(verdict.StageRender, start, found...)
	v := b.Verdict()
	if err := o.report(stderr, v); err != nil {
		return err
	}
	if v.Allowed() {
		return o.print(stdout, objects)
	}
	if v.Undetermined() {
		return undetermined()
	}
	return denied()
}

// A renderTree is what is to be rendered, and how to let go of it.
type renderTree struct {
	files    fs.FS
	path     string
	revision string // empty for a work tree
	close    func()
}

func (o *renderOptions) open(target string) (*renderTree, error) {
	if o.repo == "" {
		info, err := os.Stat(target)
		switch {
		case err == nil && info.IsDir():
			return o.openDirectory(target)
		case err == nil:
			return nil, fmt.Errorf("%s is a file: want a directory or a revision", target)
		}
	}
	return o.openRevision(target)
}

// openDirectory opens the repository around a directory, since a kustomization may
// use bases elsewhere in it, or only the directory if there is none.
func (o *renderOptions) openDirectory(dir string) (*renderTree, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	top := dir
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			top = at
			break
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	rel, err := filepath.Rel(top, dir)
	if err != nil {
		return nil, err
	}
	// An os.Root holds on to the directory: nothing outside of it can be opened,
	// whatever happens to its entries meanwhile.
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	return &renderTree{
		files: root.FS(), path: path.Join(filepath.ToSlash(rel), o.path),
		close: func() { _ = root.Close() }, // opened for reading
	}, nil
}

func (o *renderOptions) openRevision(rev string) (*renderTree, error) {
	at := o.repo
	if at == "" {
		at = "."
	}
	repo, err := git.PlainOpenWithOptions(at, &git.PlainOpenOptions{DetectDotGit: o.repo == "", EnableDotGitCommonDir: true})
	if errors.Is(err, git.ErrRepositoryNotExists) {
		if o.repo == "" {
			return nil, fmt.Errorf("%s is not a directory, and there is no repository here of which it could be a revision", rev)
		}
		return nil, fmt.Errorf("--repo %s is not a Git repository", at)
	}
	if err != nil {
		return nil, fmt.Errorf("open repository %s: %w", at, err)
	}
	hash, err := repo.ResolveRevision(plumbing.Revision(rev))
	if err != nil {
		return nil, fmt.Errorf("revision %s of repository %s: %w", rev, at, err)
	}
	files, err := commit.Unverified(repo.Storer, *hash)
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", hash, err)
	}
	return &renderTree{files: files, path: o.path, revision: reconcile.Revision(rev, *hash), close: func() {}}, nil
}

// report writes what was found.
func (o *renderOptions) report(w io.Writer, v verdict.Verdict) error {
	if o.output == "json" {
		return json.NewEncoder(w).Encode(v)
	}
	for _, f := range v.Findings {
		if _, err := fmt.Fprintln(w, f); err != nil {
			return err
		}
	}
	return nil
}

// renderedObject is one line of -o json.
type renderedObject struct {
	Source struct {
		File     string `json:"file"`
		Line     int    `json:"line"`
		Document int    `json:"document"`
	} `json:"source"`
	Object map[string]any `json:"object"`
}

func (o *renderOptions) print(w io.Writer, objects []gate.Object) error {
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	for _, object := range objects {
		if o.output == "json" {
			var line renderedObject
			line.Source.File, line.Source.Line, line.Source.Document = object.Source.File, object.Source.Line, object.Source.Document
			line.Object = o.shown(object)
			if err := lines.Encode(line); err != nil {
				return err
			}
			continue
		}
		text, err := yaml.Marshal(o.shown(object))
		if err != nil {
			return fmt.Errorf("print %s: %w", object.ID(), err)
		}
		if _, err := fmt.Fprintf(w, "---\n# source: %s:%d\n%s", object.Source.File, object.Source.Line, text); err != nil {
			return err
		}
	}
	return nil
}

// shown is what may be printed of an object: Secrets in plaintext are masked, for
// the output goes to terminals and CI logs.
func (o *renderOptions) shown(object gate.Object) map[string]any {
	if o.showSecrets || len(secrets.PlaintextLeaves(object.Object)) == 0 {
		return object.Object
	}
	return secrets.Masked(object.Object)
}
