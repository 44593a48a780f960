package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-containerregistry/pkg/authn"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/verify/image"
)

// checkRules are the rules of PolicySets that come from elsewhere, for a check: it
// fetches and verifies them itself. It implements [reconcile.RuleSource].
type checkRules struct {
	store   *reconcile.RuleStore
	repo    *gitRepository
	offline bool
	local   map[string]*reconcile.RemoteRules // by the name of the set: given by the user
	used    map[string]bool                   // of local

	// base and head are what is judged, of the GitSync at hand.
	base, head plumbing.Hash

	looked map[string]lookedRules
	notes  []verdict.Finding // on the GitSync at hand
}

// lookedRules is what came of one look at a source, for all GitSyncs.
type lookedRules struct {
	rules *reconcile.RemoteRules
	note  string
	err   error
}

// newCheckRules makes the rules of a check. They are kept in a directory that close
// removes: what a check fetches counts for itself.
func newCheckRules(reader client.Reader, repo *gitRepository, g *gates, offline bool, local []string) (_ *checkRules, closing func(), err error) {
	r := &checkRules{repo: repo, offline: offline, used: map[string]bool{}, looked: map[string]lookedRules{}}
	if r.local, err = readLocalRules(local); err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "gitgate-rules-")
	if err != nil {
		return nil, nil, err
	}
	closing = func() { _ = os.RemoveAll(dir) } // nothing of worth is in it
	sources, err := reconcile.NewSources(filepath.Join(dir, "repositories"), g.loopbackHTTP)
	if err != nil {
		closing()
		return nil, nil, err
	}
	r.store = reconcile.NewRuleStore(reconcile.RuleStoreConfig{
		Client: reader, Direct: reader, Gates: g, Sources: sources, SystemNamespace: g.system, Lenient: true,
		Dir: filepath.Join(dir, "bundles"),
		Bundles: ruleBundles{loopbackHTTP: g.loopbackHTTP, reach: func(c *image.Config) {
			if c.Keychain == nil { // the credentials of whoever runs the check
				c.Keychain = authn.DefaultKeychain
			}
		}},
	})
	return r, closing, nil
}

// maxLocalRules bounds a bundle that is read from a file.
const maxLocalRules = 8 << 20

// readLocalRules reads NAME=DIR and NAME=FILE.tar.gz.
func readLocalRules(args []string) (map[string]*reconcile.RemoteRules, error) {
	out := map[string]*reconcile.RemoteRules{}
	for _, arg := range args {
		name, file, ok := strings.Cut(arg, "=")
		if !ok || name == "" || file == "" {
			return nil, fmt.Errorf("--policy-bundle %s: want NAME=DIR or NAME=FILE.tar.gz, with the name of a PolicySet", arg)
		}
		if out[name] != nil {
			return nil, fmt.Errorf("--policy-bundle %s: the PolicySet %s is given twice", arg, name)
		}
		rules, err := readLocal(file)
		if err != nil {
			return nil, fmt.Errorf("--policy-bundle %s: %w", arg, err)
		}
		out[name] = rules
	}
	return out, nil
}

func readLocal(file string) (*reconcile.RemoteRules, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		raw, err := readBounded(file, maxLocalRules)
		if err != nil {
			return nil, err
		}
		return reconcile.ReadBundle(file, raw), nil
	}
	root, err := os.OpenRoot(file) // nothing outside of it can be opened
	if err != nil {
		return nil, err
	}
	defer root.Close() // opened for reading
	return reconcile.ReadRules(file, root.FS())
}

// of begins with a GitSync.
func (r *checkRules) of(base []plumbing.Hash, head plumbing.Hash) {
	r.base, r.head, r.notes = plumbing.ZeroHash, head, nil
	if len(base) > 0 {
		r.base = base[0]
	}
}

// Rules implements [reconcile.RuleSource].
func (r *checkRules) Rules(ctx context.Context, set *v1alpha1.PolicySet, sync *v1alpha1.GitSync) (*reconcile.RemoteRules, error) {
	if rules := r.local[set.Name]; rules != nil {
		r.used[set.Name] = true
		r.note(set, verdict.Info, "the rules of %s are taken from %s, and nobody was asked who stands behind them", set.Name, rules.URL)
		return rules, nil
	}
	if g := set.Spec.Source.Git; g != nil && sync != nil && reconcile.SameBranch(g, sync) {
		rules, note, err := r.store.RulesOfBranch(ctx, set, r.repo.objects, r.base, r.head)
		if note != "" {
			r.note(set, verdict.Warn, "the rules that head brings would be refused, and the former stay in force: %s", note)
		}
		return rules, err
	}
	if r.offline {
		return nil, &reconcile.WithheldError{Set: set.Name, Reason: verdict.SourceUnavailable, Message: fmt.Sprintf(
			"%s is not asked, as of --offline: give a copy with --policy-bundle %s=DIR", set.Spec.Source.RemoteURL(), set.Name)}
	}
	found, ok := r.looked[set.Name]
	if !ok {
		found.rules, found.note, found.err = r.store.Look(ctx, set)
		r.looked[set.Name] = found
	}
	if found.note != "" {
		r.note(set, verdict.Info, "the newest rules are refused, as in the cluster, and those of %s judge: %s", found.rules.Revision, found.note)
	}
	return found.rules, found.err
}

func (r *checkRules) note(set *v1alpha1.PolicySet, severity verdict.Severity, format string, args ...any) {
	r.notes = append(r.notes, verdict.Finding{
		Stage: verdict.StagePolicy, Reason: verdict.PolicyError, Severity: severity, Policy: set.Name, Message: fmt.Sprintf(format, args...),
	})
}

// without takes out the sets whose rules are not known, and says so of each.
func (r *checkRules) without(in *reconcile.Inputs) []verdict.Finding {
	out := r.notes
	in.Policies = slices.DeleteFunc(slices.Clone(in.Policies), func(p reconcile.PolicyInput) bool {
		if p.Withheld == nil {
			return false
		}
		f := verdict.Finding{Stage: verdict.StagePolicy, Reason: verdict.PolicyError, Severity: verdict.Undetermined, Policy: p.Set.Name, Message: p.Withheld.Error()}
		var why *reconcile.WithheldError
		if errors.As(p.Withheld, &why) {
			f.Reason = why.Reason
		}
		out = append(out, f)
		return true
	})
	return out
}

// unused is an error if rules were given for what is no set with rules from elsewhere.
func (r *checkRules) unused() error {
	for _, name := range slices.Sorted(maps.Keys(r.local)) {
		if !r.used[name] {
			return fmt.Errorf("--policy-bundle %s=…: no GitSync that is judged uses a PolicySet %s with rules from Git or a registry", name, name)
		}
	}
	return nil
}
