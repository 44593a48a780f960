package reconcile

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// Inputs are all that a gate is made from: a GitSync and everything that it
// refers to.
type Inputs struct {
	Sync       *v1alpha1.GitSync
	Trust      *v1alpha1.TrustPolicy
	Repository v1alpha1.TrustedRepository
	// KeyObjects hold the signers' keys that the TrustPolicy refers to, by
	// Secret/<name> or ConfigMap/<name>.
	KeyObjects map[string]map[string][]byte
	// Policies are the PolicySets, with the modules of their ConfigMaps.
	Policies []PolicyInput
	// DecryptionKeys are the entries of the decryption Secret; nil without one.
	DecryptionKeys map[string][]byte
	// PullSecrets hold the registry credentials.
	PullSecrets []corev1.Secret
	// Confine is the only namespace that the GitSync may touch; empty for all.
	Confine string
}

// A PolicyInput is a PolicySet and the modules that it refers to.
type PolicyInput struct {
	Set *v1alpha1.PolicySet
	// Modules are the files of its ConfigMap by name.
	Modules map[string]string
	// Trust judges where Remote comes from, if that is Git; nil while there is none.
	Trust *v1alpha1.TrustPolicy
	// Remote are the rules in force that it has from elsewhere.
	Remote *RemoteRules
	// Withheld is why there is no Remote although there should be. No former version
	// may stand in for it.
	Withheld error
}

// RemoteRules are a verified version of the files of a remote source.
type RemoteRules struct {
	// URL is where they come from, and Revision what they are called there.
	URL, Revision string
	// Version is what a bundle says that it is.
	Version string
	// Digest is that of the files, or of the bundle, as sha256:<hex>.
	Digest string
	// Files by their slash-separated path below the source, of Git.
	Files map[string]string
	// Bundle is an OPA bundle, of a registry.
	Bundle []byte
}

// A RuleSource knows which rules from elsewhere are in force. It asks no remote.
type RuleSource interface {
	// Rules returns the rules of a set by which a GitSync is judged, or for nil what no
	// GitSync declares. It fails with a [*WithheldError] where none are in force; any
	// other error says nothing about them.
	Rules(ctx context.Context, set *v1alpha1.PolicySet, sync *v1alpha1.GitSync) (*RemoteRules, error)
}

// A WithheldError says why a set has no rules in force.
type WithheldError struct {
	Set    string
	Reason verdict.Reason
	// Message is one line: why, and what to do.
	Message string
}

func (e *WithheldError) Error() string {
	return fmt.Sprintf("PolicySet %s: no version of its rules is in force: %s", e.Set, e.Message)
}

// A GateBuilder makes gates from their inputs. Only the command knows the
// packages that the stages are made of.
type GateBuilder interface {
	// Gate fails when an input is wrong, with an [*InputError] that says which and
	// where. It never holds a secret.
	Gate(ctx context.Context, in Inputs, cluster gate.DryRunner) (*gate.Gate, error)
	// Commits makes the first stage alone. Of the inputs only the TrustPolicy, the
	// repository and the keys count. It fails as Gate does.
	Commits(in Inputs) (gate.CommitVerifier, error)
	// CheckPolicy fails when the rules of a PolicySet do not compile.
	CheckPolicy(ctx context.Context, in PolicyInput) error
}

// An InputError is why no gate can be made, and what users know that by.
type InputError struct {
	Reason verdict.Reason
	Err    error
}

func (e *InputError) Error() string { return e.Err.Error() }

func (e *InputError) Unwrap() error { return e.Err }

// gateError is the fault of a gate that could not be made. An error that names no
// reason is ours.
func gateError(err error) error {
	reason := verdict.Internal
	var known *InputError
	if errors.As(err, &known) {
		reason = known.Reason
	}
	return &specError{reason: reason, msg: err.Error()}
}
