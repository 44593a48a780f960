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
// images and policies.
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
	{"I7", "registry sends too much, too slowly or nothing", reasons(verdict.RegistryLimit, verdict.RegistryUnavailable)},
	{"I8", "unsigned image in init, ephemeral, volume, custom kinds", reasons(verdict.ImageUnsigned, verdict.UncoveredImage)},
	{"I9", "one image by many spellings", reasons(verdict.ImageNotAllowed, verdict.ImageUnsigned)},

	{"O1", "policy asks the network, the environment, DNS", reasons(verdict.PolicyError)},
	{"O2", "failing built-in or missing rule passes for consent", reasons(verdict.PolicyError, verdict.PolicyUndefined)},
	{"O3", "policy that costs too much", reasons(verdict.PolicyTimeout)},
	{"O4", "malformed manifests and SOPS files that cause panics", reasons(verdict.InvalidManifest, verdict.SecretIntegrity, verdict.SecretUndecryptable)},
	{"O6", "error on the way to an answer skips a rule", reasons(verdict.PolicyError)},
	{"O7", "bad regular expression in a policy", reasons(verdict.PolicyError)},
}

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
