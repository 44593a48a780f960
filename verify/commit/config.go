package commit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/go-git/go-git/v5/plumbing"
)

// ForgeKeys says what a signature by a forge's web flow is worth.
type ForgeKeys string

// What a forge's key is worth. The zero value is [ForgeKeysDeny].
const (
	// ForgeKeysDeny refuses commits signed by a forge, even where its key is
	// listed as a signer: it says that the forge merged, not who did.
	ForgeKeysDeny ForgeKeys = "Deny"
	// ForgeKeysAllow takes a listed forge key for a signer like any other. The
	// committer must still match it; for the author, the forge's word is taken.
	ForgeKeysAllow ForgeKeys = "Allow"
)

// Scope says which commits need a signature.
type Scope string

// The scopes. The zero value is [ScopeEveryCommit].
const (
	// ScopeEveryCommit judges each commit between the root and the head.
	ScopeEveryCommit Scope = "EveryCommit"
	// ScopeHead judges the head alone; that it descends from the root and from
	// what was in force is still required.
	ScopeHead Scope = "Head"
)

// Rollback says whether an older commit may come into force again.
type Rollback string

// Whether to roll back. The zero value is [RollbackDeny].
const (
	// RollbackDeny refuses every head that does not descend from the last.
	RollbackDeny Rollback = "Deny"
	// RollbackSigned accepts an older head that a signed tag asks for; see
	// [Request.Tags].
	RollbackSigned Rollback = "Signed"
)

// A SignerConfig is one signer and its keys. At least one kind of key is needed.
type SignerConfig struct {
	// Name is what rules and reports call the signer.
	Name string
	// OpenPGP holds public keys: armored, several blocks if need be, or one
	// binary keyring. Private keys are refused.
	OpenPGP string
	// AllowedSigners holds lines as in ssh-keygen(1), ALLOWED SIGNERS. The options
	// cert-authority, namespaces, valid-after and valid-before are honoured; times
	// without Z are in the local zone of the process, as in OpenSSH.
	AllowedSigners string
	// Emails are addresses of the signer beside those that its keys name.
	Emails []string
	// Forge marks the keys of a forge's web flow. Those of GitHub and keys with
	// the well-known addresses of forges are recognised without it.
	Forge bool
}

// A Rule says who may change what.
type Rule struct {
	// Paths are globs over slash-separated paths; ** crosses directories.
	Paths []string
	// Signers are names of signers. Empty means nobody.
	Signers []string
	// Threshold is how many signers must agree. A commit carries one signature,
	// so only 0 and 1, which mean the same, are supported.
	Threshold int
}

// Limits bound what a hostile repository may cost. A zero field takes the default.
type Limits struct {
	// Commits is the number of commits in one range. Default 100,000.
	Commits int
	// CommitBytes is the size of a commit or tag object. Default 1 MiB.
	CommitBytes int64
	// TreeBytes is the size of one tree object. Default 16 MiB.
	TreeBytes int64
	// BlobBytes is the size of a file read through a [Tree]. Default 16 MiB.
	BlobBytes int64
	// Paths is the number of paths that one commit changes, and that one range
	// lists. Default 200,000.
	Paths int
	// Depth is how deep trees nest. Default 64.
	Depth int
	// RollbackAge is how old a rollback tag may be. Default 24 hours.
	RollbackAge time.Duration
}

func (l *Limits) setDefaults() {
	l.Commits = defaulted(l.Commits, 100_000)
	l.CommitBytes = defaulted(l.CommitBytes, 1<<20)
	l.TreeBytes = defaulted(l.TreeBytes, 16<<20)
	l.BlobBytes = defaulted(l.BlobBytes, 16<<20)
	l.Paths = defaulted(l.Paths, 200_000)
	l.Depth = defaulted(l.Depth, 64)
	l.RollbackAge = defaulted(l.RollbackAge, 24*time.Hour)
}

func defaulted[T int | int64 | time.Duration](v, standard T) T {
	if v <= 0 {
		return standard
	}
	return v
}

// Config is what a [Verifier] believes. It is copied by [NewVerifier].
type Config struct {
	// Signers are those whose word counts. With none, nobody's does.
	Signers []SignerConfig
	// Rules say who may change which path; the last that matches a path decides,
	// as in CODEOWNERS, and a path that none matches is closed to all. Without
	// any rule, every signer may change everything.
	Rules []Rule
	// ForgeKeys is what the keys of a forge's web flow are worth.
	ForgeKeys ForgeKeys
	// AuthorMustMatchSigner requires that the e-mail addresses of both author and
	// committer belong to the signer: to a user ID of the OpenPGP key, to the
	// principals of the SSH key or certificate, or to [SignerConfig.Emails].
	AuthorMustMatchSigner bool
	// Scope says which commits need a signature.
	Scope Scope
	// Rollback says whether an older commit may come into force again.
	Rollback Rollback
	// Root is the commit from which history counts: 40 hex digits. Without it
	// [Verifier.Verify] refuses everything; [Verifier.VerifyCommit] does without.
	Root string
	// Limits bound the work.
	Limits Limits
	// Now is the present time. Nil means time.Now.
	Now func() time.Time
}

// A ConfigError says which part of a [Config] is wrong.
type ConfigError struct {
	// Field is the place, as in signers[2].openPGP or signers[0].allowedSigners:3,
	// where the number after the colon is the 1-based line.
	Field string
	// Message says what is wrong with it.
	Message string
}

func (e *ConfigError) Error() string { return e.Field + ": " + e.Message }

func configError(field, format string, args ...any) error {
	return &ConfigError{Field: field, Message: fmt.Sprintf(format, args...)}
}

// NewVerifier checks all of c and reports every error in it, each a
// [ConfigError], joined as by [errors.Join].
func NewVerifier(c Config) (*Verifier, error) {
	v := &Verifier{
		cfg:  c,
		now:  c.Now,
		keys: keyring{openPGP: map[uint64][]*openPGPKey{}, fingerprints: map[string]string{}, namespace: gitNamespace},
		memo: newMemo(),
	}
	v.cfg.Signers = slices.Clone(c.Signers)
	v.cfg.Limits.setDefaults()
	if v.now == nil {
		v.now = time.Now
	}
	errs := []error{v.setModes(), v.setRoot()}
	names := map[string]bool{}
	for i, s := range c.Signers {
		errs = append(errs, v.keys.add(i, s, names))
	}
	errs = append(errs, v.setRules(names))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *Verifier) setModes() error {
	c := &v.cfg
	return errors.Join(
		mode(&c.ForgeKeys, "forgeKeys", ForgeKeysDeny, ForgeKeysAllow),
		mode(&c.Scope, "scope", ScopeEveryCommit, ScopeHead),
		mode(&c.Rollback, "rollback", RollbackDeny, RollbackSigned),
	)
}

// mode sets an empty value to the first of those known.
func mode[T ~string](v *T, field string, known ...T) error {
	if *v == "" {
		*v = known[0]
	}
	if !slices.Contains(known, *v) {
		return configError(field, "unknown value %q: use one of %q", *v, known)
	}
	return nil
}

func (v *Verifier) setRoot() error {
	if v.cfg.Root == "" {
		return nil
	}
	if !isHash(v.cfg.Root) || v.cfg.Root == plumbing.ZeroHash.String() {
		return configError("root", "%.60q is not a commit: give all 40 hex digits in lower case", v.cfg.Root)
	}
	v.root = plumbing.NewHash(v.cfg.Root)
	return nil
}

func (v *Verifier) setRules(names map[string]bool) error {
	var errs []error
	for i, r := range v.cfg.Rules {
		field := fmt.Sprintf("rules[%d]", i)
		if len(r.Paths) == 0 {
			errs = append(errs, configError(field+".paths", "a rule needs at least one path"))
		}
		for j, glob := range r.Paths {
			if err := checkGlob(glob); err != nil {
				errs = append(errs, configError(fmt.Sprintf("%s.paths[%d]", field, j), "%v", err))
			}
		}
		for j, name := range r.Signers {
			if !names[name] {
				errs = append(errs, configError(fmt.Sprintf("%s.signers[%d]", field, j), "no signer is named %q", name))
			}
		}
		if r.Threshold < 0 || r.Threshold > 1 {
			errs = append(errs, configError(field+".threshold",
				"%d is not supported yet: a commit carries one signature; use 1", r.Threshold))
		}
		v.rules = append(v.rules, rule{paths: slices.Clone(r.Paths), signers: slices.Clone(r.Signers)})
	}
	return errors.Join(errs...)
}

// checkGlob refuses what can never match and what could cost too much.
func checkGlob(glob string) error {
	switch {
	case glob == "":
		return errors.New("empty glob")
	case len(glob) > 1024 || strings.Count(glob, "**") > 8 || strings.Count(glob, "{") > 8:
		return fmt.Errorf("glob too complex: %.60q", glob)
	case strings.HasPrefix(glob, "/") || strings.HasSuffix(glob, "/"):
		return fmt.Errorf("glob %q: paths begin and end without a slash; for a directory write %q",
			glob, strings.Trim(glob, "/")+"/**")
	case strings.HasPrefix(glob, "!"):
		return fmt.Errorf("glob %q: negation is not supported; order the rules instead", glob)
	}
	if _, err := doublestar.Match(glob, "a/b"); err != nil {
		return fmt.Errorf("glob %q: %v", glob, err)
	}
	return nil
}
