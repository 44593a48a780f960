package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/secrets"
)

func newSecretsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "secrets",
		Short:   "Check that secrets are encrypted, intact and for the right people",
		GroupID: "gates",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSecretsCheckCommand())
	return cmd
}

func newSecretsCheckCommand() *cobra.Command {
	var o secretsCheckOptions
	cmd := &cobra.Command{
		Use:   "check [PATH...]",
		Short: "Check the secrets of a repository",
		Long: `Check reads the YAML and JSON files under each PATH, the current directory if
none is given, and refuses

  PlaintextSecret      a Secret with a value that is not encrypted
  RecipientMissing     a recipient that the nearest .sops.yaml asks for and the file lacks
  RecipientStale       a recipient that the nearest .sops.yaml does not name any more
  SecretIntegrity      a file that was changed after encryption, or ciphertext anywhere but
                       under data and stringData of a Secret
  SecretUndecryptable  a file that none of the keys opens
  KeyServiceDenied     a file that would need a key service or an age plugin
  InvalidManifest      a file that cannot be read

Without --keys nothing is decrypted, so changes of ciphertext and of the MAC go
unnoticed; files of which that is true are listed as info. No secret is ever
printed or written to disk. Only the keys given are used: no environment, no
gpg, no agent, no key service. Symbolic links and .git are not followed.

With -o json there is one finding a line, and the verdict last.

Exit codes: 0 nothing is refused, 1 something is, 2 wrong use or configuration.`,
		Example: `  # what CI runs: no key needed
  gitgate secrets check clusters/prod

  # verify every MAC too
  gitgate secrets check --keys ~/.config/sops/age/keys.txt

  # PGP as well, for scripts
  gitgate secrets check --keys prod.agekey --keys backup.asc -o json | jq -r 'select(.severity == "deny") | .file'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), args, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringArrayVar(&o.keys, "keys", nil, "`file` with age identities, an SSH key or armored OpenPGP private keys; may be repeated")
	cmd.Flags().StringVarP(&o.output, "output", "o", "text", "text or json")
	return cmd
}

// secretsCheckOptions are the flags of `gitgate secrets check`.
type secretsCheckOptions struct {
	keys   []string
	output string
}

func (o *secretsCheckOptions) run(ctx context.Context, paths []string, stdout io.Writer) error {
	if o.output != "text" && o.output != "json" {
		return fmt.Errorf("-o %s: want text or json", o.output)
	}
	keys, err := readSecretKeys(o.keys)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		paths = []string{"."}
	}
	files, err := manifests(paths)
	if err != nil {
		return err
	}
	start := time.Now()
	c := &secretsCheck{keys: keys, broken: map[string]bool{}}
	for _, file := range files {
		if err := c.file(ctx, file); err != nil {
			return err
		}
	}
	b := verdict.NewBuilder("", verdict.StageSecret)
	b.Objects(c.objects)
	b.Stage(verdict.StageSecret, start, c.findings...)
	return printSecretsVerdict(stdout, o.output, b.Verdict(), len(files))
}

// readSecretKeys reads key files of any name, by what they hold. It returns nil
// without files.
func readSecretKeys(files []string) (*secrets.Keys, error) {
	if len(files) == 0 {
		return nil, nil
	}
	const limit = 1 << 20
	entries, names := map[string][]byte{}, map[string]string{}
	for i, file := range files {
		raw, err := readBounded(file, limit)
		if err != nil {
			return nil, err
		}
		entry := fmt.Sprintf("%d.agekey", i)
		if bytes.Contains(raw, []byte("-----BEGIN PGP ")) {
			entry = fmt.Sprintf("%d.asc", i)
		}
		entries[entry], names[entry] = raw, file
	}
	keys, err := secrets.NewKeys(entries)
	var e *secrets.Error
	if errors.As(err, &e) {
		e.Path = cmp.Or(names[e.Path], "--keys")
	}
	return keys, err
}

// manifests lists the files to check: those named, and below directories those
// that can hold objects.
func manifests(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		err := filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == ".git":
				return fs.SkipDir
			case d.IsDir() || file != path && (!d.Type().IsRegular() || !holdsObjects(d.Name())):
				return nil
			}
			files = append(files, file)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no YAML or JSON file under %s", strings.Join(paths, ", "))
	}
	return files, nil
}

func holdsObjects(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return name != secrets.RulesFile
	}
	return name == "Kustomization"
}

// A secretsCheck collects what is found in files.
type secretsCheck struct {
	keys     *secrets.Keys
	objects  int
	findings []verdict.Finding
	broken   map[string]bool // rules that were reported already
}

func (c *secretsCheck) add(e *secrets.Error, file string) {
	c.findings = append(c.findings, verdict.Finding{
		Reason: verdict.Reason(e.Reason), Message: e.Message, File: file, Line: e.Line, Field: e.Field,
	})
}

// file checks one file. It fails only where nothing can be said of the file.
func (c *secretsCheck) file(ctx context.Context, file string) error {
	raw, err := readSome(file, secrets.MaxFileSize+1) // one byte over the limit is refused by name
	if err != nil {
		return err
	}
	name := filepath.ToSlash(file)
	info, found := secrets.Check(name, raw)
	c.objects += info.Documents
	for _, e := range found {
		c.add(e, name)
	}
	if !info.Encrypted {
		return nil
	}
	unchecked := "its MAC was not verified, for no --keys are given"
	switch {
	case c.keys == nil:
	case len(found) > 0:
		unchecked = "its MAC was not verified, for the file is refused already"
	default:
		unchecked = ""
		if err := c.decrypt(ctx, name, raw); err != nil {
			return err
		}
	}
	return c.recipients(file, name, info, unchecked)
}

func (c *secretsCheck) decrypt(ctx context.Context, name string, raw []byte) error {
	opened, err := secrets.Open(ctx, name, raw, c.keys)
	if err == nil {
		defer opened.Close()
		err = opened.Verify()
	}
	var e *secrets.Error
	if errors.As(err, &e) {
		c.add(e, name)
		return nil
	}
	if err != nil {
		return &exitError{code: exitUndetermined, err: err}
	}
	return nil
}

// recipients compares the file with the nearest rules, and says what was left
// unchecked.
func (c *secretsCheck) recipients(file, name string, info secrets.Info, unchecked string) error {
	root, relative, err := repositoryPath(file)
	if err != nil {
		return err
	}
	rules, err := secrets.FindRules(os.DirFS(root), relative)
	var e *secrets.Error
	switch {
	case errors.As(err, &e):
		if !c.broken[e.Path] {
			c.broken[e.Path] = true
			c.add(e, e.Path)
		}
		return nil
	case err != nil:
		return err
	}
	without := "there is no " + secrets.RulesFile
	if rules != nil {
		matched, found := rules.Check(relative, info)
		for _, e := range found {
			c.add(e, name)
		}
		without = "no creation rule of " + rules.Path() + " matches"
		if matched {
			without = ""
		}
	}
	if without != "" {
		without = "its recipients were not compared, for " + without
	}
	if unchecked != "" && without != "" {
		unchecked += "; "
	}
	if unchecked += without; unchecked != "" {
		c.findings = append(c.findings, verdict.Finding{
			Reason: verdict.SecretIntegrity, Severity: verdict.Info, File: name,
			Message: fmt.Sprintf("encrypted to %d recipients; %s", len(info.Recipients), unchecked),
		})
	}
	return nil
}

// repositoryPath splits the place of a file into the root of its repository, or
// of the file system when it is in none, and the slash-separated path below.
func repositoryPath(file string) (root, relative string, err error) {
	file, err = filepath.Abs(file)
	if err != nil {
		return "", "", err
	}
	root = filepath.Dir(file)
	for {
		if _, err := os.Lstat(filepath.Join(root, ".git")); err == nil {
			break
		}
		parent := filepath.Dir(root)
		if parent == root {
			break
		}
		root = parent
	}
	relative, err = filepath.Rel(root, file)
	return root, filepath.ToSlash(relative), err
}

func readSome(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

func printSecretsVerdict(w io.Writer, format string, v verdict.Verdict, files int) error {
	lines := make([]any, 0, len(v.Findings)+1)
	for _, f := range v.Findings {
		lines = append(lines, f)
	}
	lines = append(lines, v)
	for _, l := range lines {
		if format == "json" {
			if err := json.NewEncoder(w).Encode(l); err != nil {
				return err
			}
			continue
		}
		text := ""
		switch l := l.(type) {
		case verdict.Finding:
			if l.Field != "" && !strings.HasPrefix(l.Message, l.Field) {
				l.Message = l.Field + ": " + l.Message
			}
			text = l.String()
		case verdict.Verdict:
			text = fmt.Sprintf("deny: %d findings in %d files", len(l.Blocking()), files)
			if l.Allowed() {
				text = fmt.Sprintf("allow: %d objects in %d files", l.Objects, files)
			}
		}
		if _, err := fmt.Fprintln(w, text); err != nil {
			return err
		}
	}
	if !v.Allowed() {
		return denied()
	}
	return nil
}
