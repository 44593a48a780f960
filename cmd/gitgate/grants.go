package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"gitgate.dev/gitgate/verify/commit"
	"gitgate.dev/gitgate/webhook/breakglass"
)

// newBook makes the book of break-glass grants of a cluster, and has mgr keep it up
// to date in every replica.
func newBook(ctx context.Context, mgr manager.Manager, config *rest.Config, system string, used func(context.Context, breakglass.Use), changed func(breakglass.State)) (*breakglass.Book, error) {
	direct, err := client.New(config, client.Options{Scheme: mgr.GetScheme()})
	if err != nil {
		return nil, err
	}
	cluster, err := clusterID(ctx, direct)
	if err != nil {
		return nil, err
	}
	book, err := breakglass.NewBook(breakglass.Config{
		Cluster: cluster, System: system, Signers: grantSigners, Used: used, Changed: changed,
	})
	if err != nil {
		return nil, err
	}
	return book, mgr.Add(everywhere(func(ctx context.Context) error { return book.Feed(ctx, mgr.GetCache()) }))
}

// clusterID identifies a cluster by the namespace that every cluster has and that
// cannot be made anew.
func clusterID(ctx context.Context, c client.Reader) (string, error) {
	ns := &metav1.PartialObjectMetadata{}
	ns.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := c.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, ns); err != nil {
		return "", fmt.Errorf("the cluster cannot be identified by its namespace %s: %w", metav1.NamespaceSystem, err)
	}
	return string(ns.UID), nil
}

// grantSigners reads who may sign grants.
func grantSigners(allowedSigners string) (breakglass.Verifier, error) {
	signers, err := commit.NewSSHSigners("breakGlass.allowedSigners", allowedSigners, breakglass.Namespace)
	if err != nil {
		return nil, err
	}
	return grantVerifier{signers}, nil
}

// grantVerifier adapts the SSH signatures of verify/commit to grants.
type grantVerifier struct{ signers *commit.SSHSigners }

func (v grantVerifier) Verify(armored string, message []byte) (breakglass.Signature, error) {
	s, err := v.signers.Verify(armored, message)
	if err != nil {
		return breakglass.Signature{}, err
	}
	return breakglass.Signature{Key: s.Fingerprint, Principals: s.Principals, ValidAt: s.ValidAt}, nil
}

// everywhere is run by every replica, not by a leader alone.
type everywhere func(context.Context) error

func (e everywhere) Start(ctx context.Context) error { return e(ctx) }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (everywhere) NeedLeaderElection() bool { return false }
