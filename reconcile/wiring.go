package reconcile

import (
	"context"
	"errors"

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
}

// A GateBuilder makes gates from their inputs. Only the command knows the
// packages that the stages are made of.
type GateBuilder interface {
	// Gate fails when an input is wrong, with an [*InputError] that says which and
	// where. It never holds a secret.
	Gate(ctx context.Context, in Inputs, cluster gate.DryRunner) (*gate.Gate, error)
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
