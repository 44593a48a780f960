package main

import (
	"context"
	"fmt"
	"strings"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

const canary = "correct-horse-battery-staple"

// An act is one step of the transcript.
type act struct {
	title string
	play  func(context.Context) error
}

func (d *demo) acts() []act {
	return []act{
		{"A signed commit with a signed image and an encrypted secret goes live", d.goLive},
		{"An unsigned commit is quarantined", d.unsigned},
		{"A commit by a signer that nobody trusts is quarantined", d.untrusted},
		{"An image that nobody signed is quarantined", d.unsignedImage},
		{"A policy violation is quarantined", d.violation},
		{"A tampered secret is quarantined", d.tampered},
		{"A secret in plaintext is quarantined", d.plaintext},
		{"Edits by a cluster-admin are put back", d.manualEdits},
		{"A new version goes live, and a revert rolls it back", d.revert},
		{"The webhook locks what Git declares", d.lock},
		{"A cluster-admin is refused in every way", d.locked},
		{"A new version rolls out under the lock", d.rollout},
		{"Two people break the glass, for one thing", d.breakGlass},
	}
}

func (d *demo) goLive(ctx context.Context) error {
	image, err := d.SignedImage("acme/web:1.0")
	if err != nil {
		return err
	}
	d.image = d.Registry.Name("acme/web")
	secret, err := d.EncryptedSecret("web", "password", canary)
	if err != nil {
		return err
	}
	d.secret = secret
	if err := d.accept(ctx, gitrepo.Change{
		Message: "web 1.0",
		Files: map[string]string{
			"deploy/web.yaml":    lab.Deployment("web", d.image+":1.0", 2),
			"deploy/secret.yaml": secret,
		},
	}); err != nil {
		return err
	}
	return d.running(ctx, image.Digest, 2)
}

func (d *demo) unsigned(ctx context.Context) error {
	return d.refuse(ctx, verdict.UnsignedCommit, gitrepo.Change{
		Message: "scale up, in a hurry", Author: d.Alice.Person(),
		Files: map[string]string{"deploy/web.yaml": lab.Deployment("web", d.image+":1.0", 5)},
	})
}

func (d *demo) untrusted(ctx context.Context) error {
	return d.refuse(ctx, verdict.UntrustedSigner, gitrepo.Change{
		Message: "hello from Mallory", Author: d.Mallory.Person(), Sign: d.Mallory,
		Files: map[string]string{"deploy/web.yaml": lab.Deployment("web", d.image+":1.0", 5)},
	})
}

func (d *demo) unsignedImage(ctx context.Context) error {
	if _, err := d.Registry.PushImage("acme/web:2.0"); err != nil {
		return err
	}
	return d.refuse(ctx, verdict.ImageUnsigned, gitrepo.Change{
		Message: "web 2.0, built on my laptop",
		Files:   map[string]string{"deploy/web.yaml": lab.Deployment("web", d.image+":2.0", 2)},
	})
}

func (d *demo) violation(ctx context.Context) error {
	manifest := strings.Replace(lab.Deployment("web", d.image+":1.0", 2), "      containers:", "      hostPID: true\n      containers:", 1)
	return d.refuse(ctx, verdict.PolicyDenied, gitrepo.Change{
		Message: "look at the host's processes", Files: map[string]string{"deploy/web.yaml": manifest},
	})
}

func (d *demo) tampered(ctx context.Context) error {
	// Somebody edits a field that the file's MAC covers, without the key.
	manifest := strings.Replace(d.secret, "name: web", "name: web-2", 1)
	return d.refuse(ctx, verdict.SecretIntegrity, gitrepo.Change{
		Message: "rename the secret by hand", Files: map[string]string{"deploy/secret.yaml": manifest},
	})
}

func (d *demo) plaintext(ctx context.Context) error {
	return d.refuse(ctx, verdict.PlaintextSecret, gitrepo.Change{
		Message: "sops is too much work", Files: map[string]string{"deploy/secret.yaml": lab.PlainSecret("web", "password", canary)},
	})
}

func (d *demo) revert(ctx context.Context) error {
	next, err := d.SignedImage("acme/web:1.1")
	if err != nil {
		return err
	}
	if err := d.accept(ctx, gitrepo.Change{
		Message: "web 1.1", Files: map[string]string{"deploy/web.yaml": lab.Deployment("web", d.image+":1.1", 3)},
	}); err != nil {
		return err
	}
	if err := d.running(ctx, next.Digest, 3); err != nil {
		return err
	}
	old := d.digest
	if err := d.accept(ctx, gitrepo.Change{
		Message: fmt.Sprintf("Revert %q", "web 1.1"), Files: map[string]string{"deploy/web.yaml": lab.Deployment("web", d.image+":1.0", 2)},
	}); err != nil {
		return err
	}
	return d.running(ctx, old, 2)
}
