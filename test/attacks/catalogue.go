package main

import (
	"fmt"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policy/verdict"
)

// A row is one attack that gitgate must withstand.
type row struct {
	ID     string
	Attack string
	// Verdicts are the reasons of which an attack of this row ends in one. The
	// tests hold the product to them.
	Verdicts []verdict.Reason
}

// catalogue lists the attacks by where they come from: Git, paths, YAML, secrets,
// images, policies and writes to Kubernetes.
var catalogue = []row{
	{"G1", "head commit without a signature", reasons(verdict.UnsignedCommit)},
	{"G2", "unsigned commit or merge parent below a signed head", reasons(verdict.UnsignedCommit)},
	{"G3", "second tree header beside the one that was signed", reasons(verdict.MalformedObject)},
	{"G4", "two signatures, misordered headers, NUL or CR in a commit", reasons(verdict.MalformedObject)},
	{"G7", "force-push of an old commit, forged rollback", reasons(verdict.NonFastForward)},
	{"G8", "commit for another repository, branch, namespace or path", reasons(verdict.IncompleteHistory, verdict.UntrustedSigner, verdict.SignerNotAllowed, verdict.RepositoryNotTrusted)},
	{"G9", "commit signed by a forge's web flow", reasons(verdict.ForgeKey)},
	{"G10", "author or committer is not who signed", reasons(verdict.AuthorMismatch)},
	{"G11", "expired or revoked key, signature dated back", reasons(verdict.KeyExpired, verdict.KeyRevoked)},
	{"G12", "weak digest or algorithm, SSH signature for another purpose", reasons(verdict.WeakCryptography, verdict.WrongNamespace)},
	{"G15", "replace refs, grafts or a shallow boundary hide ancestors", reasons(verdict.IncompleteHistory, verdict.UnsignedCommit)},
	{"G16", "content from submodules, LFS or filters", reasons(verdict.UnsignedContent)},
	{"G17", "hostile server: refs that climb, bombs in packs", reasons(verdict.MalformedObject, verdict.LimitExceeded)},
	{"G18", "redirect to a thief, URLs that are options or files", reasons(verdict.SourceUnavailable, verdict.RepositoryNotTrusted)},
	{"G19", "commit changes the trust or policy that judges it", reasons(verdict.UntrustedSigner, verdict.ScopeViolation)},

	{"P1", "symlink to a token, to .git or to another app", reasons(verdict.PathEscape)},
	{"P2", "../ in paths and kustomizations", reasons(verdict.PathEscape)},
	{"P3", "remote base, chart, plugin", reasons(verdict.RemoteInput)},
	{"P4", "cycles of links and bases, huge manifests", reasons(verdict.LimitExceeded, verdict.PathEscape)},
	{"P5", "one poisoned field is to stall every app", reasons(verdict.InvalidManifest)},
	{"P6", "tenant reaches for other namespaces and cluster kinds", reasons(verdict.ScopeViolation, verdict.DryRunRejected)},

	{"Y1", "alias bombs, deep nesting, encodings, tags", reasons(verdict.LimitExceeded, verdict.InvalidManifest)},
	{"Y2", "duplicate keys, keys that differ by case", reasons(verdict.AmbiguousManifest)},
	{"Y3", "nested lists, generateName, text between documents", reasons(verdict.InvalidManifest)},
	{"Y4", "values that readers of YAML and JSON disagree on", reasons(verdict.AmbiguousManifest)},

	{"S1", "edits that the MAC of SOPS does not cover", reasons(verdict.SecretIntegrity)},
	{"S2", "edits that the MAC of SOPS does not notice", reasons(verdict.UnsignedCommit, verdict.UntrustedSigner)},
	{"S3", "secret encrypted anew to our public key", reasons(verdict.SignerNotAllowed, verdict.UntrustedSigner)},
	{"S4", "file chooses the key service or a plugin", reasons(verdict.KeyServiceDenied)},
	{"S5", "secret in a status, event, log, metric or decision", reasons(verdict.DryRunRejected, verdict.InvalidManifest, verdict.PlaintextSecret)},

	{"I1", "tag gives another image after it was verified", reasons(verdict.ImageUnsigned, verdict.ImageNotPinned)},
	{"I2", "signed index, unsigned child, and the reverse", reasons(verdict.ImageUnsigned)},
	{"I4", "attestation of another type, image or key, or unreadable", reasons(verdict.AttestationMissing, verdict.AttestationInvalid)},
	{"I7", "registry sends too much, too slowly or nothing", reasons(verdict.RegistryLimit, verdict.RegistryUnavailable)},
	{"I8", "unsigned image in init, ephemeral, volume, custom kinds", reasons(verdict.ImageUnsigned, verdict.UncoveredImage)},
	{"I9", "one image by many spellings", reasons(verdict.ImageNotAllowed, verdict.ImageUnsigned)},

	{"O1", "policy asks the network, the environment, DNS", reasons(verdict.PolicyError)},
	{"O2", "failing built-in or missing rule passes for consent", reasons(verdict.PolicyError, verdict.PolicyUndefined)},
	{"O3", "policy that costs too much", reasons(verdict.PolicyTimeout, verdict.PolicyError, verdict.LimitExceeded)},
	{"O4", "malformed manifests and SOPS files that cause panics", reasons(verdict.InvalidManifest, verdict.SecretIntegrity, verdict.SecretUndecryptable)},
	{"O6", "error on the way to an answer skips a rule", reasons(verdict.PolicyError)},
	{"O7", "bad regular expression, or data in the place of a rule", reasons(verdict.PolicyError)},

	{"K1", "change a declared field, by any version or manager", reasons(verdict.ContentMismatch)},
	{"K2", "undeclared sidecar, host access, RBAC subject", reasons(verdict.UndeclaredField, verdict.ContentMismatch)},
	{"K3", "strip the labels, then edit", reasons(verdict.ContentMismatch)},
	{"K4", "relabel a namespace to exempt or weaken it", reasons(verdict.ContentMismatch, verdict.UndeclaredField)},
	{"K5", "scale, resize, ephemeral containers", reasons(verdict.SubresourceDenied, verdict.ContentMismatch)},
	{"K6", "metadata by way of status and finalize", reasons(verdict.SubresourceDenied, verdict.ContentMismatch, verdict.UndeclaredField)},
	{"K7", "evict a bare Pod: no deletion is reviewed", reasons(verdict.ManagedDelete)},
	{"K8", "labels and annotations by way of a binding", reasons(verdict.SubresourceDenied)},
	{"K9", "exec, attach, forward, proxies of Pods and nodes", reasons(verdict.NoGrant)},
	{"K10", "delete, one by one or as a collection", reasons(verdict.ManagedDelete, verdict.NotInGit)},
	{"K11", "delete the namespace or the owner of what Git has", reasons(verdict.ManagedDelete, verdict.NotDerived, verdict.NotInGit)},
	{"K14", "forged child of a controller's, or of nobody", reasons(verdict.NotDerived, verdict.NotInGit)},
	{"K16", "take a name between its commit and its first apply", reasons(verdict.ContentMismatch, verdict.NotInGit)},
	{"K17", "controllers impersonated, the reconciler's own token", reasons(verdict.ContentMismatch, verdict.ManagedDelete, verdict.NotInGit)},
	{"K18", "mint an identity: token, certificate, key of a signer", reasons(verdict.ProtectedIdentity, verdict.NotInGit)},
	{"K19", "an identity of kube-system attacks", reasons(verdict.ContentMismatch, verdict.UndeclaredField, verdict.ManagedDelete)},
	{"K20", "weaken or delete the webhook's registration", restored},
	{"K21", "later mutation, forged word of a verifier", reasons(verdict.UndeclaredField, verdict.ContentMismatch)},
	{"K22", "flood, stall or kill the webhook", failed},
	{"K23", "ask the webhook directly, guess secrets by its answers", turnedAway},
	{"K24", "take over a group: conversion, APIService", reasons(verdict.NotInGit, verdict.ContentMismatch, verdict.UndeclaredField)},
	{"K25", "write into etcd", reasons("Restored", "Found")},
	{"K26", "mirror Pod from who is not its node", reasons(verdict.NotDerived)},
	{"K27", "send a Service's traffic elsewhere, take our Lease", reasons(verdict.NotDerived, verdict.NotInGit)},
	{"K28", "verdict from an object that has changed since", reasons(verdict.ContentMismatch)},
	{"K29", "delete a definition, and with it what Git has", reasons(verdict.ManagedDelete)},
	{"K30", "own our fields too, so that they outlive Git", restored},
	{"K31", "dry run of a token request answers with a token", reasons(verdict.ProtectedIdentity, verdict.SubresourceDenied)},
	{"K32", "binding by its old resource", reasons(verdict.SubresourceDenied)},
	{"K33", "reorder init containers or the environment", reasons(verdict.ContentMismatch)},
	{"K34", "sidecar from before the lock", restored},
	{"K35", "what is applied is refused later, a status is forged", reasons(verdict.RevisionRefused, verdict.ContentMismatch, verdict.UndeclaredField, verdict.ManagedDelete, verdict.SubresourceDenied)},
}

// Outcomes that are no verdicts of gitgate's. What no admission sees is put back,
// what cannot be asked about fails in the API server, and who is not the API server
// is turned away by TLS.
var restored, failed, turnedAway = reasons("Restored"), reasons("WebhookFailed"), reasons("TLSRefused")

func reasons(r ...verdict.Reason) []verdict.Reason { return r }

// selectRows returns the rows of a comma-separated list of ids; all if it is empty.
func selectRows(only string) ([]row, error) {
	if only == "" {
		return catalogue, nil
	}
	var rows []row
	for id := range strings.SplitSeq(only, ",") {
		id = strings.ToUpper(strings.TrimSpace(id))
		i := slices.IndexFunc(catalogue, func(r row) bool { return r.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("-only: no row %q: the rows are %s", id, strings.Join(ids(catalogue), " "))
		}
		rows = append(rows, catalogue[i])
	}
	return rows, nil
}

func ids(rows []row) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.ID
	}
	return out
}
