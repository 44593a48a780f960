package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	policybundle "gitgate.dev/gitgate/policy/bundle"
	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/verify/bundle"
	"gitgate.dev/gitgate/verify/image"
)

// policyPull holds the flags of `gitgate policy pull`.
type policyPull struct {
	trustedKeys
	registryFlags
	policyDialect
	output, cacheDir string
	force            bool
}

func newPolicyPullCommand() *cobra.Command {
	var o policyPull
	cmd := &cobra.Command{
		Use:   "pull REF",
		Short: "Pull a signed bundle of policies from a registry",
		Long: `Pull a bundle, verify who signed it, and unpack it into a directory, or write it to a
file if its name ends in .tar.gz. What is unpacked is what was signed: the digest of the
artifact is verified, and everything is read by its hash from there.

Say whom to trust either with public keys, any of which suffices, or with the images
part of a TrustPolicy. A bundle that nobody signed, that somebody else signed, or that
does not load is refused, and nothing is written. What was pulled before is replaced
with --force, as a whole; a directory of anybody else's is never touched.

Bundles of other tools, such as opa build and oras push, are taken as well, once they
are signed; say with --format and --rego-version what they do not say themselves.

Credentials come from the docker configuration, as for docker and cosign. Plain HTTP
is refused.

Exit codes: 0 written, 1 the bundle is refused, 2 wrong use, 3 the registry is
unavailable.`,
		Example: `  # rules that the security team signs, into policy/
  gitgate policy pull ghcr.io/acme/policies:1.4 --key cosign.pub
  gitgate policy eval deploy/ --policy policy/

  # the bundle as it is, by digest, as the cluster trusts it
  gitgate policy pull ghcr.io/acme/policies@sha256:… --trust trust.yaml -o policies.tar.gz`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.trustedKeys.flags(cmd)
	o.registryFlags.flags(cmd)
	o.policyDialect.flags(cmd, "default: what the bundle says, or Gitgate in v1")
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "policy", "`DIR` to unpack to, or FILE.tar.gz")
	f.StringVar(&o.cacheDir, "cache-dir", "", "`directory` that keeps bundles and signatures between runs; they are verified again")
	f.BoolVar(&o.force, "force", false, "replace what was pulled before")
	f.DurationVar(&o.limits.Timeout, "timeout", time.Minute, "time for verifying, and for each download")
	return cmd
}

func (o *policyPull) run(cmd *cobra.Command, ref string) error {
	if _, _, err := image.Parse(ref); err != nil {
		return fmt.Errorf("%s: %w", report.Printable(ref), err)
	}
	images, err := o.trustedKeys.config()
	if err == nil {
		err = o.reach(&images)
	}
	if err != nil {
		return err
	}
	fetcher, err := bundle.NewFetcher(bundle.Config{Images: images, CacheDir: o.cacheDir, MaxBytes: maxBundleFile})
	if err != nil {
		return err
	}
	target := newPullTarget(o.output, o.force)
	if err := target.check(); err != nil { // before anything is asked
		return err
	}
	artifact, err := fetcher.Fetch(cmd.Context(), ref)
	if err != nil {
		return registryExit(err)
	}
	manifest, err := loadsAsBundle(cmd.Context(), artifact.Bytes, o.dialect())
	if err != nil {
		return &exitError{code: exitDenied, err: printable(fmt.Errorf("%s@%s: %w", artifact.Evidence.Image(), artifact.Digest, err))}
	}
	if err := target.write(artifact); err != nil {
		return printable(err)
	}
	manifest.Format = cmp.Or(o.dialect().Format, manifest.Format)
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, from %s, signed by %s\n", report.Printable(o.output), describeManifest(manifest),
		report.Printable(artifact.Evidence.Pinned()), report.Printable(artifact.Evidence.Authority()))
	return err
}

// A pullTarget is where a bundle goes to.
type pullTarget struct {
	path  string
	file  bool // the bundle as it is
	force bool
}

func newPullTarget(path string, force bool) pullTarget {
	file := strings.HasSuffix(path, ".tar.gz") || strings.HasSuffix(path, ".tgz")
	return pullTarget{path: filepath.Clean(path), file: file, force: force}
}

// pulledName marks a directory that was pulled, which may be replaced.
const pulledName = ".gitgate-bundle.json"

// pulled is what the mark says.
type pulled struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
	SignedBy  string `json:"signedBy"`
}

// check wants a place where nothing is lost.
func (t pullTarget) check() error {
	if base := filepath.Base(t.path); base == "." || base == ".." || base == string(filepath.Separator) {
		return fmt.Errorf("-o %s: name a directory of its own", t.path)
	}
	info, err := os.Lstat(t.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case t.file && !info.Mode().IsRegular(), !t.file && !info.IsDir():
		return fmt.Errorf("-o %s: it is there, and it is something else", t.path)
	case t.file && t.force:
		return nil
	case t.file:
		return fmt.Errorf("-o %s: it is there already: replace it with --force", t.path)
	}
	entries, err := os.ReadDir(t.path)
	if err != nil || len(entries) == 0 {
		return err
	}
	if _, err := os.Lstat(filepath.Join(t.path, pulledName)); err != nil {
		return fmt.Errorf("-o %s: it is there, and it was not pulled (it has no %s): choose another directory", t.path, pulledName)
	}
	if !t.force {
		return fmt.Errorf("-o %s: it was pulled before: replace it with --force", t.path)
	}
	return nil
}

// write puts a bundle there, all of it or nothing.
func (t pullTarget) write(a bundle.Artifact) error {
	if t.file {
		return writeWhole(t.path, a.Bytes)
	}
	read, err := policybundle.Read(a.Bytes, policybundle.Limits{})
	if err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(t.path), "."+filepath.Base(t.path)+"-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh) // fails once it is renamed
	if err := unpack(fresh, read); err != nil {
		return err
	}
	mark, err := json.Marshal(pulled{a.Evidence.Pinned(), a.Digest, a.Evidence.Authority()})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(fresh, pulledName), append(mark, '\n'), 0o644); err != nil {
		return err
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return err
	}
	return t.replace(fresh)
}

// replace moves a directory to its place, and what was there out of the way first.
func (t pullTarget) replace(fresh string) error {
	if err := t.check(); err != nil { // somebody may have been faster
		return err
	}
	old := fresh + "-old"
	switch err := os.Rename(t.path, old); {
	case errors.Is(err, fs.ErrNotExist):
		return os.Rename(fresh, t.path)
	case err != nil:
		return err
	}
	if err := os.Rename(fresh, t.path); err != nil {
		return errors.Join(err, os.Rename(old, t.path))
	}
	return os.RemoveAll(old)
}

// unpack writes the files of a bundle below a directory, which nothing leads out of.
func unpack(dir string, b *policybundle.Bundle) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range b.Files() {
		path := filepath.FromSlash(name)
		if err := root.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		f, err := root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = f.Write(b.File(name))
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}
