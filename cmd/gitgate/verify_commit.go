package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/verify/commit"
)

type verifyCommitOptions struct {
	repo           string
	trust          string
	openPGP        []string
	allowedSigners []string
	output         string
}

func newVerifyCommitCommand() *cobra.Command {
	var o verifyCommitOptions
	cmd := &cobra.Command{
		Use:   "commit REV...|A..B",
		Short: "Verify who signed commits",
		Long: `Commit verifies the signatures of commits over their raw bytes, at the present
time. A revision is a branch, a tag, a full or short hash or HEAD, with ~N or ^N
behind it; each is judged alone. A..B lists what B has and A has not, newest
first.

Say whose word counts by --trust, a file with a TrustPolicy, or by key files.
With --trust the author match and the path rules apply too, and a range is also
held against the policy's root and must be a fast-forward.

Each commit is one of

  good         signed by a signer who may make this change
  unsigned     not signed
  untrusted    signed, but the signer's word does not count
  bad          the signature or the commit itself does not hold
  unsupported  signed in a way that cannot be verified yet, as with gitsign

OpenPGP and SSH signatures are verified; replace refs, grafts and shallow files
are ignored. With -o json each line is an object with commit, status, reason,
signer, keyType, fingerprint and message.

Exit codes: 0 all good, 1 something denied, 2 wrong use or input,
3 nothing worse than undetermined.`,
		Example: `  gitgate verify commit --trust trust.yaml origin/main..HEAD
  gitgate verify commit --allowed-signers .allowed_signers HEAD v1.2.0
  gitgate verify commit --openpgp alice.asc --openpgp bob.asc --repo /srv/git/shop.git main~20..main
  gitgate verify commit --trust trust.yaml -o json main | jq -r 'select(.status != "good").commit'`,
		Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
			return completeRevision(o.repo, prefix)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.repo, "repo", ".", "`DIR` of the repository, bare or with a work tree")
	f.StringVar(&o.trust, "trust", "", "`FILE` with a TrustPolicy")
	f.StringArrayVar(&o.openPGP, "openpgp", nil, "`FILE` with OpenPGP public keys; may be given again")
	f.StringArrayVar(&o.allowedSigners, "allowed-signers", nil, "`FILE` in the format of OpenSSH's allowed_signers; may be given again")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	cmd.MarkFlagsMutuallyExclusive("trust", "openpgp")
	cmd.MarkFlagsMutuallyExclusive("trust", "allowed-signers")
	cmd.MarkFlagsOneRequired("trust", "openpgp", "allowed-signers")
	// These fail for flags that do not exist alone.
	_ = cmd.MarkFlagDirname("repo")
	_ = cmd.MarkFlagFilename("trust", "yaml", "yml", "json")
	_ = cmd.MarkFlagFilename("openpgp", "asc", "gpg")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *verifyCommitOptions) run(ctx context.Context, stdout, stderr io.Writer, args []string) error {
	if o.output != "text" && o.output != "json" {
		return fmt.Errorf("-o %s: use text or json", o.output)
	}
	config, err := o.config()
	if err != nil {
		return err
	}
	verifier, err := commit.NewVerifier(config)
	if err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	repo, err := openGitRepository(o.repo)
	if err != nil {
		return err
	}
	ranges := make([]revisionRange, len(args))
	for i, arg := range args { // all of them before the first line is written
		if ranges[i], err = repo.parseRange(arg); err != nil {
			return err
		}
	}
	p := newCommitPrinter(stdout, o.output, o.trust != "")
	for i, r := range ranges {
		hashes := []plumbing.Hash{r.to}
		if r.ranged {
			if hashes, err = verifier.Range(ctx, repo.objects, r.to, r.from); err != nil {
				return fmt.Errorf("%s: %w", args[i], err)
			}
			if len(hashes) == 0 {
				fmt.Fprintf(stderr, "%s holds no commits\n", args[i])
			}
		}
		for result := range verifier.Commits(ctx, repo.objects, hashes) {
			if err := p.print(result); err != nil {
				return err
			}
		}
		if r.ranged && config.Root != "" {
			_, report := verifier.Verify(ctx, commit.Request{Objects: repo.objects, Head: r.to, Base: []plumbing.Hash{r.from}})
			if err := p.printRest(report, r.to); err != nil {
				return err
			}
		}
	}
	return p.exit()
}

// config reads whose word counts.
func (o *verifyCommitOptions) config() (commit.Config, error) {
	if o.trust != "" {
		return loadTrust(o.trust)
	}
	var c commit.Config
	for _, file := range o.openPGP {
		data, err := readInput(file)
		if err != nil {
			return c, err
		}
		c.Signers = append(c.Signers, commit.SignerConfig{Name: file, OpenPGP: data})
	}
	for _, file := range o.allowedSigners {
		data, err := readInput(file)
		if err != nil {
			return c, err
		}
		c.Signers = append(c.Signers, commit.SignerConfig{Name: file, AllowedSigners: data})
	}
	return c, checkKeyFiles(c)
}

// checkKeyFiles tries each file alone, so that an error names the file.
func checkKeyFiles(c commit.Config) error {
	for _, s := range c.Signers {
		_, err := commit.NewVerifier(commit.Config{Signers: []commit.SignerConfig{s}})
		var wrong *commit.ConfigError
		if errors.As(err, &wrong) {
			_, line, ok := strings.Cut(wrong.Field, "allowedSigners:")
			if ok {
				return fmt.Errorf("%s:%s: %s", s.Name, line, wrong.Message)
			}
			return fmt.Errorf("%s: %s", s.Name, wrong.Message)
		}
	}
	return nil
}

// maxInputBytes bounds key and policy files.
const maxInputBytes = 16 << 20

// readInput reads a file of keys.
func readInput(file string) (string, error) {
	data, err := readBounded(file, maxInputBytes)
	if err == nil && len(data) == 0 {
		err = fmt.Errorf("%s: the file is empty", file)
	}
	return string(data), err
}

// A commitPrinter writes results as they come and remembers the worst.
type commitPrinter struct {
	out     io.Writer
	json    bool
	named   bool // signers have names of their own, not those of files
	color   bool
	denied  bool
	unsure  bool
	printed map[string][]commit.Reason
}

func newCommitPrinter(out io.Writer, format string, named bool) *commitPrinter {
	p := &commitPrinter{out: out, json: format == "json", named: named, printed: map[string][]commit.Reason{}}
	if f, ok := out.(*os.File); ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		p.color = term.IsTerminal(int(f.Fd()))
	}
	return p
}

// commitLine is one line of -o json. It is API for scripts.
type commitLine struct {
	Commit      string         `json:"commit"`
	Status      commit.Status  `json:"status"`
	Reason      commit.Reason  `json:"reason,omitempty"`
	Signer      string         `json:"signer,omitempty"`
	KeyType     commit.KeyType `json:"keyType,omitempty"`
	Fingerprint string         `json:"fingerprint,omitempty"`
	Algorithm   string         `json:"algorithm,omitempty"`
	Message     string         `json:"message,omitempty"`
}

func (p *commitPrinter) print(r commit.Result) error {
	if r.Status != commit.Good {
		unsure := slices.ContainsFunc(r.Problems, func(q commit.Problem) bool { return q.Undetermined }) &&
			!slices.ContainsFunc(r.Problems, func(q commit.Problem) bool { return !q.Undetermined })
		p.unsure, p.denied = p.unsure || unsure, p.denied || !unsure
	}
	for _, q := range r.Problems {
		p.printed[q.Commit] = append(p.printed[q.Commit], q.Reason)
	}
	line := commitLine{Commit: r.Commit, Status: r.Status, Reason: r.Reason, Signer: r.Identity,
		KeyType: r.KeyType, Fingerprint: r.Fingerprint, Algorithm: r.Algorithm, Message: r.Message}
	if p.named {
		line.Signer = r.Signer
	}
	if p.json {
		encoder := json.NewEncoder(p.out)
		encoder.SetEscapeHTML(false) // addresses stand in angle brackets
		return encoder.Encode(line)
	}
	return p.text(line)
}

// printRest prints the problems of a history that no commit's line told.
func (p *commitPrinter) printRest(report commit.Report, head plumbing.Hash) error {
	for _, q := range report.Problems {
		if q.Commit == "" {
			q.Commit = head.String()
		}
		if slices.Contains(p.printed[q.Commit], q.Reason) {
			continue
		}
		r := commit.Result{Commit: q.Commit, Status: commit.Bad, Reason: q.Reason, Message: q.Message, Problems: []commit.Problem{q}}
		if i := slices.IndexFunc(report.Commits, func(c commit.Result) bool { return c.Commit == q.Commit && c.Reason == q.Reason }); i >= 0 {
			r = report.Commits[i]
		}
		if err := p.print(r); err != nil {
			return err
		}
	}
	return nil
}

var statusColors = map[commit.Status]string{
	commit.Good: "32", commit.Unsigned: "31", commit.Bad: "31", commit.Untrusted: "31", commit.Unsupported: "33",
}

func (p *commitPrinter) text(l commitLine) error {
	status := fmt.Sprintf("%-11s", l.Status)
	if p.color {
		status = "\x1b[" + statusColors[l.Status] + "m" + status + "\x1b[0m"
	}
	var err error
	if l.Status == commit.Good && l.Fingerprint == "" {
		_, err = fmt.Fprintf(p.out, "%s  %.12s  the pinned root\n", status, l.Commit)
	} else if l.Status == commit.Good {
		_, err = fmt.Fprintf(p.out, "%s  %.12s  %s  %s %s %s\n", status, l.Commit, report.Printable(l.Signer), l.KeyType, l.Algorithm, l.Fingerprint)
	} else {
		_, err = fmt.Fprintf(p.out, "%s  %.12s  %s: %s\n", status, l.Commit, l.Reason, report.Printable(l.Message))
	}
	return err
}

func (p *commitPrinter) exit() error {
	switch {
	case p.denied:
		return denied()
	case p.unsure:
		return undetermined()
	}
	return nil
}
