package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The users that gitgate is in a lab.
const (
	ReconcilerUser = "system:serviceaccount:" + SystemNamespace + ":gitgate-reconciler"
	WebhookUser    = "system:serviceaccount:" + SystemNamespace + ":gitgate-webhook"
	DryRunAccount  = "gitgate-dryrun"
)

// A Webhook is a running replica of gitgate webhook.
type Webhook struct {
	*Server
	// Address is where it answers admission reviews itself.
	Address string
	// Replica is its name in the status of GitSyncs.
	Replica string
}

// LockArgs are the flags that gitgate serve needs beside a webhook.
func LockArgs() []string { return []string{"--dry-run-service-account", DryRunAccount} }

// ServeWebhook starts a replica of the webhook and waits until it is ready, which it
// is when it knows every lock. All replicas stand behind one address, as behind a
// Service.
func (l *Lab) ServeWebhook(ctx context.Context, replica string, args ...string) (*Webhook, error) {
	w, err := l.StartWebhook(ctx, replica, args...)
	if err != nil {
		return nil, err
	}
	return w, w.awaitReady(ctx)
}

// StartWebhook starts a replica of the webhook and does not wait. A replica that
// ran before under this name must have been stopped.
func (l *Lab) StartWebhook(ctx context.Context, replica string, args ...string) (*Webhook, error) {
	if l.front == nil { // the first: from then on the account is locked
		if err := l.dryRunAccount(ctx); err != nil {
			return nil, err
		}
		var err error
		if l.front, err = newFront(); err != nil {
			return nil, err
		}
	}
	s, err := l.newServer("webhook-"+replica, "webhook-"+replica+".jsonl")
	if err != nil {
		return nil, err
	}
	w := &Webhook{Server: s, Replica: replica}
	if w.Address, err = FreeAddress(); err != nil {
		return nil, err
	}
	l.front.add(w.Address)
	args = append([]string{
		"webhook", "--data-dir", filepath.Join(l.Dir, "webhook-"+replica), "--bind-address", w.Address,
		"--url", "https://" + l.front.address(), "--replica-name", replica, "--drain", "0s",
	}, args...)
	l.webhooks = append(l.webhooks, w)
	return w, l.launch(s, WebhookUser, args)
}

// AwaitReady waits until the replica is ready.
func (w *Webhook) AwaitReady(ctx context.Context) error { return w.awaitReady(ctx) }

// Pause stops the process from running, as a machine that hangs does.
func (w *Webhook) Pause() error { return w.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets it run on.
func (w *Webhook) Resume() error {
	if err := w.cmd.Process.Signal(syscall.SIGCONT); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// dryRunAccount creates the account that makes dry runs; what it may do is for the
// webhook's policies to bound.
func (l *Lab) dryRunAccount(ctx context.Context) error {
	for _, o := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: DryRunAccount, Namespace: SystemNamespace}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: DryRunAccount},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: SystemNamespace, Name: DryRunAccount}},
		},
	} {
		if err := l.Client.Create(ctx, o); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("the dry-run account: %w", err)
		}
	}
	return nil
}
