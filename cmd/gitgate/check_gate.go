package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/secrets"
	"gitgate.dev/gitgate/verify/image"
)

// A precheck is what differs when the gate runs before the merge. What it lacks,
// as keys and a cluster, it says.
type precheck struct {
	keys    *secrets.Keys
	offline bool
}

// images adds the credentials of whoever runs the check, where those of the
// cluster are not to be had.
func (p *precheck) images(c *image.Config, in reconcile.Inputs) {
	c.Offline, c.RecallTags = p.offline, false
	if len(in.PullSecrets) < len(in.Trust.Spec.Images.PullSecrets) || len(in.Trust.Spec.Images.PullSecrets) == 0 {
		c.Keychain = authn.NewMultiKeychain(c.Keychain, authn.DefaultKeychain)
	}
}

// adapt puts the local stage and the keys of whoever runs the check in the place of
// the cluster's. Where spec.decryption is missing the cluster has no keys either.
func (p *precheck) adapt(c *gate.Config, in reconcile.Inputs, local *localStage) {
	c.Thorough, c.Cluster, c.Progress = !local.replayed, local, local.progress
	local.Renderer = c.Renderer
	c.Renderer = local
	switch {
	case in.Sync.Spec.Decryption == nil:
	case p.keys != nil:
		c.Secrets = secretKeeper{p.keys}
	case in.DecryptionKeys == nil:
		c.Secrets = keylessKeeper{}
	}
}

// A localStage stands in for the cluster: the release that is in force is what the
// base declares. It takes note of what is rendered.
type localStage struct {
	gate.Renderer
	prune    bool
	replayed bool // the decision is made as the reconciler made it
	progress func(verdict.Stage)
	head     []gate.Object
	previous []gate.Object
	calls    int
	narrow   func(fs.FS) fs.FS // what to look at of the head; nil for all
	rendered func()            // called after each tree; nil is fine
}

// Render implements [gate.Renderer]. The gate renders the head, and then what is in
// force.
func (l *localStage) Render(ctx context.Context, fsys fs.FS) ([]gate.Object, []verdict.Finding) {
	l.calls++
	if l.calls == 1 && l.narrow != nil {
		fsys = l.narrow(fsys)
	}
	objects, found := l.Renderer.Render(ctx, fsys)
	if l.rendered != nil {
		l.rendered()
	}
	if l.calls == 1 {
		l.head = slices.Clone(objects) // the gate pins images in its own
	} else {
		l.previous = objects
	}
	return objects, found
}

// Deletions implements [gate.DryRunner].
func (l *localStage) Deletions(_ context.Context, keep []gate.Object) ([]gate.Object, error) {
	if !l.prune {
		return nil, nil
	}
	return missing(l.previous, keep), nil
}

// missing returns those of objects that others lack.
func missing(objects, others []gate.Object) []gate.Object {
	there := make(map[string]bool, len(others))
	for _, o := range others {
		there[o.ID()] = true
	}
	return slices.DeleteFunc(slices.Clone(objects), func(o gate.Object) bool { return there[o.ID()] })
}

// DryRun implements [gate.DryRunner].
func (l *localStage) DryRun(context.Context, *gate.Candidate) []verdict.Finding {
	if l.replayed {
		return nil
	}
	return []verdict.Finding{{
		Reason: verdict.DryRunSkipped, Severity: verdict.Info,
		Message: "what only an API server knows was not asked: the reconciler makes a dry run before it applies",
	}}
}

// changes compares what is rendered with what is in force.
func (l *localStage) changes() []report.Change {
	before := make(map[string]gate.Object, len(l.previous))
	for _, o := range l.previous {
		before[o.ID()] = o
	}
	var out []report.Change
	for _, o := range l.head {
		old, ok := before[o.ID()]
		if ok && (old.Unstructured == o.Unstructured || reflect.DeepEqual(old.Object, o.Object)) {
			continue
		}
		c := report.Change{Object: o.ID(), Action: report.Create, File: o.Source.File, Line: o.Source.Line}
		if ok {
			c.Action = report.Update
		}
		out = append(out, c)
	}
	if l.prune {
		for _, o := range missing(l.previous, l.head) {
			out = append(out, report.Change{Object: o.ID(), Action: report.Delete, File: o.Source.File, Line: o.Source.Line})
		}
	}
	return out
}

// keylessKeeper judges encrypted files by what they show without a key.
type keylessKeeper struct{ secretKeeper }

// Open implements [gate.SecretKeeper]. That nothing shows does not mean that
// nothing is wrong.
func (keylessKeeper) Open(_ context.Context, file string, raw []byte) (gate.OpenedSecret, error) {
	info, err := secrets.Inspect(file, raw)
	if err != nil {
		return nil, secretError(err)
	}
	return nil, &gate.SecretError{
		Reason: verdict.SecretUndecryptable, Undetermined: true,
		Message: fmt.Sprintf("the file is encrypted to %d recipients and was not decrypted, so its integrity is not known: give --keys, or leave it to the cluster", len(info.Recipients)),
	}
}

// recipients compares the encrypted files with the nearest .sops.yaml.
func recipients(files fs.FS, objects []gate.Object) []verdict.Finding {
	var out []verdict.Finding
	seen := map[string]bool{}
	note := func(o gate.Object, e *secrets.Error, severity verdict.Severity) {
		file := o.Source.File
		if e.Path != "" {
			file = e.Path
		}
		out = append(out, verdict.Finding{
			Stage: verdict.StageSecret, Reason: verdict.Reason(e.Reason), Severity: severity,
			Message: e.Message, File: file, Line: e.Line, Field: e.Field,
		})
	}
	for _, o := range objects {
		file := o.Source.File
		if o.Source.Encrypted == nil || seen[file] {
			continue
		}
		seen[file] = true
		var wrong *secrets.Error
		rules, err := secrets.FindRules(files, file)
		if errors.As(err, &wrong) {
			if !seen[wrong.Path] {
				seen[wrong.Path] = true
				note(o, wrong, verdict.Deny)
			}
			continue
		}
		info, err := secrets.Inspect(file, o.Source.Encrypted)
		if err != nil || rules == nil {
			continue // the secret stage has said what is wrong with the file
		}
		_, found := rules.Check(file, info)
		for _, e := range found {
			severity := verdict.Deny
			if verdict.Reason(e.Reason) == verdict.RecipientStale {
				severity = verdict.Warn
			}
			e.Path = ""
			note(o, e, severity)
		}
	}
	return out
}

// checkKeys reads decryption keys: those of files, or else those that sops would
// find in the environment.
func checkKeys(files []string) (*secrets.Keys, error) {
	if len(files) > 0 {
		return readSecretKeys(files)
	}
	if file := os.Getenv("SOPS_AGE_KEY_FILE"); file != "" {
		return readSecretKeys([]string{file})
	}
	if text := os.Getenv("SOPS_AGE_KEY"); text != "" {
		keys, err := secrets.NewKeys(map[string][]byte{"env.agekey": bytes.TrimSpace([]byte(text))})
		if err != nil {
			return nil, errors.New("SOPS_AGE_KEY holds no age identity")
		}
		return keys, nil
	}
	return nil, nil
}

// imageCacheDir is where signatures are kept between runs.
func imageCacheDir(dir string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "images")
}
