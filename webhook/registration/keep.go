package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-logr/logr"
	arv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/webhook/lock"
)

// A kind is what keep needs of one of the kinds that we install. cached reads from
// memory; live, create and update ask the API server. yields, if it is there, is asked
// whether to leave what live returned, or that nothing is there.
type kind[T metav1.Object] struct {
	name    string
	cached  func(name string) (T, error)
	live    func(ctx context.Context, name string) (T, error)
	create  func(ctx context.Context, object T) error
	update  func(ctx context.Context, object T) error
	content func(T) any
	yields  func(have T, found bool) bool
}

// keep makes the object be as wanted.
func keep[T metav1.Object](ctx context.Context, r *Registrar, k kind[T], want T) error {
	key := k.name + "/" + want.GetName()
	content, err := json.Marshal(k.content(want))
	if err != nil {
		return err
	}
	if have, err := k.cached(want.GetName()); err == nil && same(k, have, want) {
		r.installed[key] = content
		return nil
	}
	have, err := k.live(ctx, want.GetName())
	found := !apierrors.IsNotFound(err)
	change := "deleted"
	switch {
	case found && err != nil:
		return err
	case found && same(k, have, want):
		r.installed[key] = content // memory lags behind, or another replica was first
		return nil
	case k.yields != nil && k.yields(have, found):
		return nil
	case !found:
		err = k.create(ctx, want)
	default:
		change = "changed"
		want.SetResourceVersion(have.GetResourceVersion())
		err = k.update(ctx, want)
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		r.notify() // somebody was faster: look again
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	// It is a restoration only if it had been there just like that.
	if string(r.installed[key]) == string(content) {
		r.restored(ctx, k.name, want.GetName(), change)
	}
	r.installed[key] = content
	return nil
}

// same reports whether have is want and nothing more.
func same[T metav1.Object](k kind[T], have, want T) bool {
	return equality.Semantic.DeepEqual(k.content(have), k.content(want)) &&
		maps.Equal(have.GetLabels(), want.GetLabels()) && len(have.GetAnnotations()) == 0 &&
		len(have.GetFinalizers()) == 0 && len(have.GetOwnerReferences()) == 0 && have.GetDeletionTimestamp() == nil
}

func (r *Registrar) restored(ctx context.Context, kindName, name, change string) {
	r.metrics.restored(kindName, change)
	logr.FromContextOrDiscard(ctx).Info("Restored", "kind", kindName, "name", name, "was", change)
	if r.cfg.Recorder == nil {
		return
	}
	r.cfg.Recorder.Eventf(&corev1.ObjectReference{APIVersion: arv1.SchemeGroupVersion.String(), Kind: kindName, Name: name}, nil,
		corev1.EventTypeWarning, "RegistrationRestored", "Restore",
		"%s %s had been %s and was restored: find out who did that, and what was written meanwhile", kindName, name, change)
}

// keepPolicies installs the policies of mode, once no stricter one is in effect.
func (r *Registrar) keepPolicies(ctx context.Context, mode lock.Mode) error {
	for _, p := range r.cfg.Policies(mode) {
		if r.weakens(mode) {
			return nil
		}
		if r.onTrial(mode) {
			p.Binding.Spec.ValidationActions = r.strictest(p.Binding)
		}
		if err := r.keepPolicy(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// strictest returns the actions of a binding, or Deny where that is installed: by a
// replica that is about to enforce.
func (r *Registrar) strictest(want *arv1.ValidatingAdmissionPolicyBinding) []arv1.ValidationAction {
	deny := []arv1.ValidationAction{arv1.Deny}
	if have, err := r.bindings.Get(want.Name); err == nil && slices.Equal(have.Spec.ValidationActions, deny) {
		return deny
	}
	return want.Spec.ValidationActions
}

func (r *Registrar) keepPolicy(ctx context.Context, p Policy) error {
	api := r.cfg.Client.AdmissionregistrationV1()
	if err := keep(ctx, r, kind[*arv1.ValidatingAdmissionPolicy]{
		name:   "ValidatingAdmissionPolicy",
		cached: r.policies.Get,
		live: func(ctx context.Context, name string) (*arv1.ValidatingAdmissionPolicy, error) {
			return api.ValidatingAdmissionPolicies().Get(ctx, name, metav1.GetOptions{})
		},
		create: func(ctx context.Context, o *arv1.ValidatingAdmissionPolicy) error {
			_, err := api.ValidatingAdmissionPolicies().Create(ctx, o, metav1.CreateOptions{})
			return err
		},
		update: func(ctx context.Context, o *arv1.ValidatingAdmissionPolicy) error {
			_, err := api.ValidatingAdmissionPolicies().Update(ctx, o, metav1.UpdateOptions{})
			return err
		},
		content: func(o *arv1.ValidatingAdmissionPolicy) any { return o.Spec },
	}, p.Policy); err != nil {
		return err
	}
	return keep(ctx, r, kind[*arv1.ValidatingAdmissionPolicyBinding]{
		name:   "ValidatingAdmissionPolicyBinding",
		cached: r.bindings.Get,
		live: func(ctx context.Context, name string) (*arv1.ValidatingAdmissionPolicyBinding, error) {
			return api.ValidatingAdmissionPolicyBindings().Get(ctx, name, metav1.GetOptions{})
		},
		create: func(ctx context.Context, o *arv1.ValidatingAdmissionPolicyBinding) error {
			_, err := api.ValidatingAdmissionPolicyBindings().Create(ctx, o, metav1.CreateOptions{})
			return err
		},
		update: func(ctx context.Context, o *arv1.ValidatingAdmissionPolicyBinding) error {
			_, err := api.ValidatingAdmissionPolicyBindings().Update(ctx, o, metav1.UpdateOptions{})
			return err
		},
		content: func(o *arv1.ValidatingAdmissionPolicyBinding) any { return o.Spec },
	}, p.Binding)
}

// keepWebhook installs the webhook, or removes it when no lock is on.
func (r *Registrar) keepWebhook(ctx context.Context, mode lock.Mode) error {
	if r.inEffect() == mode {
		r.relaxing = false
	}
	if mode == lock.Off {
		return r.removeWebhook(ctx)
	}
	return r.installWebhook(ctx, mode)
}

func (r *Registrar) removeWebhook(ctx context.Context) error {
	api := r.cfg.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if _, err := r.webhooks.Load().Get(Name); apierrors.IsNotFound(err) {
		return nil
	}
	live, err := api.Get(ctx, Name, metav1.GetOptions{})
	if err != nil {
		return ignoreGone(err)
	}
	if r.yields(lock.Off, modeOf(live)) {
		return nil
	}
	return ignoreGone(r.relaxed(api.Delete(ctx, Name, deleteOptions(live))))
}

// relaxed notes what came of a write of the webhook. From the first that succeeds on,
// what is stricter is somebody else's.
func (r *Registrar) relaxed(err error) error {
	if err == nil {
		r.relaxing = false
	}
	return err
}

func (r *Registrar) installWebhook(ctx context.Context, mode lock.Mode) error {
	api := r.cfg.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if r.cfg.Refresh != nil && r.bundleDiffers() {
		if err := r.cfg.Refresh(ctx); err != nil {
			return err
		}
	}
	return keep(ctx, r, kind[*arv1.ValidatingWebhookConfiguration]{
		name:   "ValidatingWebhookConfiguration",
		cached: r.webhooks.Load().Get,
		live: func(ctx context.Context, name string) (*arv1.ValidatingWebhookConfiguration, error) {
			return api.Get(ctx, name, metav1.GetOptions{})
		},
		create: func(ctx context.Context, o *arv1.ValidatingWebhookConfiguration) error {
			_, err := api.Create(ctx, o, metav1.CreateOptions{})
			return r.relaxed(err)
		},
		update: func(ctx context.Context, o *arv1.ValidatingWebhookConfiguration) error {
			_, err := api.Update(ctx, o, metav1.UpdateOptions{})
			return r.relaxed(err)
		},
		content: func(o *arv1.ValidatingWebhookConfiguration) any { return o.Webhooks },
		yields: func(have *arv1.ValidatingWebhookConfiguration, found bool) bool {
			installed := lock.Off
			if found {
				installed = modeOf(have)
			}
			return r.yields(mode, installed)
		},
	}, r.cfg.Configuration(mode, r.cfg.Bundle(), r.pins))
}

// bundleDiffers reports whether the API server is told to trust something else
// than we know of.
func (r *Registrar) bundleDiffers() bool {
	live, err := r.webhooks.Load().Get(Name)
	if err != nil {
		return false
	}
	bundle := string(r.cfg.Bundle())
	for _, hook := range live.Webhooks {
		if string(hook.ClientConfig.CABundle) != bundle {
			return true
		}
	}
	return false
}

// retire removes the policies that mode does not call for, once no stricter one is in
// effect.
func (r *Registrar) retire(ctx context.Context, mode lock.Mode) error {
	api := r.cfg.Client.AdmissionregistrationV1()
	var errs []error
	for _, name := range r.cfg.retired(mode) {
		if r.weakens(mode) {
			break
		}
		if b, err := r.bindings.Get(name); err == nil {
			errs = append(errs, ignoreGone(api.ValidatingAdmissionPolicyBindings().Delete(ctx, name, deleteOptions(b))))
		}
		if p, err := r.policies.Get(name); err == nil {
			errs = append(errs, ignoreGone(api.ValidatingAdmissionPolicies().Delete(ctx, name, deleteOptions(p))))
		}
		delete(r.installed, "ValidatingAdmissionPolicyBinding/"+name)
		delete(r.installed, "ValidatingAdmissionPolicy/"+name)
	}
	return errors.Join(errs...)
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
