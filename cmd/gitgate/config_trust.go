package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	corev1 "k8s.io/api/core/v1"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/verify/commit"
	"gitgate.dev/gitgate/verify/image"
)

// commitConfig translates the commits of a TrustPolicy. keys holds the objects
// that signers refer to, by Secret/<name> or ConfigMap/<name>.
func commitConfig(trust v1alpha1.CommitTrust, root string, keys map[string]map[string][]byte) (commit.Config, error) {
	c := commit.Config{
		ForgeKeys:             commit.ForgeKeys(trust.ForgeKeys),
		AuthorMustMatchSigner: trust.AuthorMustMatchSigner == nil || *trust.AuthorMustMatchSigner,
		Scope:                 commit.Scope(trust.Scope),
		Rollback:              commit.Rollback(trust.Rollback),
		Root:                  root,
	}
	for _, r := range trust.Rules {
		c.Rules = append(c.Rules, commit.Rule{Paths: r.Paths, Signers: r.Signers})
	}
	for _, s := range trust.Signers {
		signer := commit.SignerConfig{Name: s.Name, Emails: s.Emails, Forge: s.Forge}
		if s.SSH != nil {
			signer.AllowedSigners = s.SSH.AllowedSigners
		}
		if s.OpenPGP != nil {
			ring, err := openPGPKeys(*s.OpenPGP, keys)
			if err != nil {
				return c, fmt.Errorf("signer %s: %w", s.Name, err)
			}
			signer.OpenPGP = ring
		}
		c.Signers = append(c.Signers, signer)
	}
	return c, nil
}

func openPGPKeys(k v1alpha1.KeySource, objects map[string]map[string][]byte) (string, error) {
	var ref string
	switch {
	case k.Data != "":
		return k.Data, nil
	case k.SecretRef != nil:
		ref = "Secret/" + k.SecretRef.Name
	case k.ConfigMapRef != nil:
		ref = "ConfigMap/" + k.ConfigMapRef.Name
	}
	var ring bytes.Buffer
	object := objects[ref]
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if strings.HasSuffix(name, ".asc") {
			ring.Write(object[name])
			ring.WriteByte('\n')
		}
	}
	if ring.Len() == 0 {
		return "", fmt.Errorf("openPGP: %s has no entry that ends in .asc", ref)
	}
	return ring.String(), nil
}

// imageConfig translates the images of a TrustPolicy.
func imageConfig(trust v1alpha1.ImageTrust) image.Config {
	c := image.Config{Default: image.Action(trust.Default), Digest: image.DigestMode(trust.Digest)}
	for _, r := range trust.Rules {
		rule := image.Rule{Match: r.Match, Static: image.Action(r.Static), Authorities: imageAuthorities(r.Authorities)}
		for _, a := range r.Attestations {
			rule.Attestations = append(rule.Attestations, image.Attestation{
				Name: a.Name, PredicateType: a.PredicateType, Optional: a.Optional, Authorities: imageAuthorities(a.Authorities),
			})
		}
		c.Rules = append(c.Rules, rule)
	}
	return c
}

func imageAuthorities(in []v1alpha1.ImageAuthority) []image.Authority {
	var out []image.Authority
	for _, a := range in {
		out = append(out, image.Authority{Name: a.Name, Key: &image.Key{Data: a.Key.Data, HashAlgorithm: a.Key.HashAlgorithm}})
	}
	return out
}

func extractors(trust v1alpha1.ImageTrust) []gate.Extractor {
	out := make([]gate.Extractor, len(trust.Extractors))
	for i, e := range trust.Extractors {
		out[i] = gate.Extractor{APIVersion: e.APIVersion, Kind: e.Kind, Paths: e.Paths}
	}
	return out
}

// pullKeychain finds registry credentials in Secrets of type
// kubernetes.io/dockerconfigjson. Their content never reaches an error.
func pullKeychain(secrets []corev1.Secret) (authn.Keychain, error) {
	keychain := secretKeychain{}
	for _, s := range secrets {
		var config struct {
			Auths map[string]authn.AuthConfig `json:"auths"`
		}
		data, ok := s.Data[corev1.DockerConfigJsonKey]
		if !ok || json.Unmarshal(data, &config) != nil {
			return nil, fmt.Errorf("images.pullSecrets: Secret %s has no valid %s", s.Name, corev1.DockerConfigJsonKey)
		}
		for host, auth := range config.Auths {
			keychain[registryHost(host)] = auth
		}
	}
	return keychain, nil
}

// secretKeychain holds credentials by registry host.
type secretKeychain map[string]authn.AuthConfig

// Resolve implements [authn.Keychain].
func (k secretKeychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	if auth, ok := k[registryHost(target.RegistryStr())]; ok {
		return authn.FromConfig(auth), nil
	}
	return authn.Anonymous, nil
}

// registryHost strips what docker config keys carry besides the host, and gives
// Docker Hub one name.
func registryHost(s string) string {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
	s, _, _ = strings.Cut(s, "/")
	s = strings.TrimSuffix(s, ":443")
	switch s {
	case "docker.io", "registry-1.docker.io":
		return "index.docker.io"
	}
	return s
}
