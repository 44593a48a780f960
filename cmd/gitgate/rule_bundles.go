package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"gitgate.dev/gitgate/policy"
	policybundle "gitgate.dev/gitgate/policy/bundle"
	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/verify/bundle"
	"gitgate.dev/gitgate/verify/image"
)

// ruleBundles fetches the bundles of PolicySets. It implements
// [reconcile.BundleSource].
type ruleBundles struct {
	// loopbackHTTP allows plain HTTP to registries on this machine.
	loopbackHTTP bool
	// reach changes how registries are reached; nil leaves it.
	reach func(*image.Config)
}

// Fetch implements [reconcile.BundleSource].
func (r ruleBundles) Fetch(ctx context.Context, q reconcile.BundleQuery) (*reconcile.SignedBundle, error) {
	config := imageConfig(v1alpha1.ImageTrust{Rules: []v1alpha1.ImageRule{{
		Match: []string{"**"}, Authorities: q.Set.Spec.Source.OCI.Verify.Authorities,
	}}})
	config.LoopbackHTTP, config.Offline = r.loopbackHTTP, q.Offline
	if q.Pull != nil {
		keychain, err := pullKeychain([]corev1.Secret{*q.Pull})
		if err != nil {
			return nil, unusableBundle(q, "spec.source.oci.secretRef: the Secret has no valid %s", corev1.DockerConfigJsonKey)
		}
		config.Keychain = keychain
	}
	if r.reach != nil {
		r.reach(&config)
	}
	fetcher, err := bundle.NewFetcher(bundle.Config{Images: config, CacheDir: q.Dir, MaxBytes: maxBundleFile})
	if err != nil {
		return nil, unusableBundle(q, "spec.source.oci.verify: %v", err)
	}
	artifact, err := fetcher.Fetch(ctx, q.Ref)
	if err != nil {
		return nil, err
	}
	read, err := policybundle.Read(artifact.Bytes, policybundle.Limits{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", artifact.Digest, err)
	}
	out := &reconcile.SignedBundle{Digest: artifact.Digest, Bytes: artifact.Bytes, Version: bundleVersion(read.Manifest())}
	if _, pinned, err := image.Parse(q.Ref); err == nil && pinned == "" {
		out.Tag = artifact.Evidence.Tag()
	}
	return out, nil
}

// maxBundleVersion bounds what of a revision is told and compared.
const maxBundleVersion = 128

// bundleVersion is the revision that a bundle says that it has, which is anybody's
// text.
func bundleVersion(m policybundle.Manifest) string {
	text := []rune(report.Printable(m.Revision))
	return string(text[:min(len(text), maxBundleVersion)])
}

// unusableBundle is an error that no registry is to blame for: trying again does not
// help until somebody changes what it names.
func unusableBundle(q reconcile.BundleQuery, format string, args ...any) error {
	return &image.Error{Reason: image.ImageUntrusted, Image: q.Ref, Message: fmt.Sprintf(format, args...)}
}

// bundledSet makes a set of a bundle, in the dialect of a PolicySet or else in its own.
func bundledSet(name string, raw []byte, as policybundle.Dialect) (policy.Set, error) {
	read, err := policybundle.Read(raw, policybundle.Limits{})
	if err != nil {
		return policy.Set{}, err
	}
	return read.Set(name, as)
}
