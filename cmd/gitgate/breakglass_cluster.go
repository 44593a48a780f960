package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/breakglass"
)

// clusterFlags say which cluster a person works with.
type clusterFlags struct {
	kubeconfig string
	context    string
	uid        string
}

func (o *clusterFlags) register(f *pflag.FlagSet) {
	o.registerAccess(f)
	f.StringVar(&o.uid, "cluster", "", "`UID` of the namespace kube-system, which names the cluster; empty asks it")
}

func (o *clusterFlags) registerAccess(f *pflag.FlagSet) {
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` to reach the cluster with; empty is $KUBECONFIG or ~/.kube/config")
	f.StringVar(&o.context, "context", "", "`name` of the context of the kubeconfig")
}

// A grantCluster reads and writes grants as the person who runs the command.
type grantCluster struct{ client client.Client }

// connect makes no more than discovery requests. What fails is undetermined: the
// cluster could not be asked.
func (o *clusterFlags) connect() (*grantCluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("no cluster to ask: %s", oneLine(err))
	}
	config.UserAgent = "gitgate/" + version
	config.QPS = -1 // the API server's own fairness decides
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, unreachable(err)
	}
	return &grantCluster{c}, nil
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// unreachable ends a command that the cluster did not answer.
func unreachable(err error) error {
	return &exitError{code: exitUndetermined, err: fmt.Errorf("the cluster cannot be asked: %s", oneLine(err))}
}

// uid is what grants name the cluster by.
func (c *grantCluster) uid(ctx context.Context) (string, error) {
	uid, err := clusterID(ctx, c.client)
	if err != nil {
		return "", unreachable(err)
	}
	return uid, nil
}

// trusts are the TrustPolicies of the cluster that let people sign grants.
func (c *grantCluster) trusts(ctx context.Context) ([]v1alpha1.TrustPolicy, error) {
	var list v1alpha1.TrustPolicyList
	if err := c.client.List(ctx, &list); err != nil {
		return nil, unreachable(err)
	}
	var out []v1alpha1.TrustPolicy
	for _, p := range list.Items {
		if p.Spec.BreakGlass != nil {
			out = append(out, p)
		}
	}
	return out, nil
}

func (c *grantCluster) onlyTrust(ctx context.Context) (string, error) {
	trusts, err := c.trusts(ctx)
	if err != nil {
		return "", err
	}
	names := make([]string, len(trusts))
	for i, p := range trusts {
		names[i] = p.Name
	}
	switch len(names) {
	case 0:
		return "", errors.New("no TrustPolicy of the cluster has spec.breakGlass: nobody could sign")
	case 1:
		return names[0], nil
	}
	return "", fmt.Errorf("several TrustPolicies have spec.breakGlass: %s", strings.Join(names, ", "))
}

// newGrantBook is a Book of one moment, for looking at grants.
func newGrantBook(cluster, system string, trusts []v1alpha1.TrustPolicy) (*breakglass.Book, error) {
	book, err := breakglass.NewBook(breakglass.Config{Cluster: cluster, System: system, Signers: grantSigners})
	if err != nil {
		return nil, err
	}
	for i := range trusts {
		_ = book.SetTrust(&trusts[i]) // the state of its grants says why
	}
	return book, nil
}
