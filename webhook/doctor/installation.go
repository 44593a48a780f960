package doctor

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// crds are gitgate's kinds.
var crds = []string{"breakglasses", "gitsyncs", "policyexceptions", "policysets", "trustpolicies"}

// installation checks that gitgate's kinds are served and that its accounts exist.
func (d *doctor) installation(ctx context.Context) []Check {
	return []Check{d.kinds(ctx), d.accounts(ctx)}
}

func (d *doctor) kinds(ctx context.Context) Check {
	c := Check{ID: "crds", Status: OK, Message: "gitgate's kinds are served"}
	for _, plural := range crds {
		name := plural + "." + v1alpha1.GroupVersion.Group
		var crd apiextensionsv1.CustomResourceDefinition
		switch err := d.client.Get(ctx, client.ObjectKey{Name: name}, &crd); {
		case absent(err):
			c.Details = append(c.Details, name+" is not installed")
		case err != nil:
			return unknown(c.ID, "CustomResourceDefinitions", err)
		case !established(&crd):
			c.Details = append(c.Details, name+" is not established")
		case !slices.ContainsFunc(crd.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool {
			return v.Name == v1alpha1.GroupVersion.Version && v.Served
		}):
			c.Details = append(c.Details, name+" does not serve "+v1alpha1.GroupVersion.Version)
		}
	}
	if len(c.Details) > 0 {
		c.Status, c.Message, c.Advice = Fail, "not all of gitgate's kinds are served", "kubectl apply --server-side -k deploy/crds"
	}
	return c
}

func established(crd *apiextensionsv1.CustomResourceDefinition) bool {
	return slices.ContainsFunc(crd.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	})
}

func (d *doctor) accounts(ctx context.Context) Check {
	c := Check{ID: "accounts", Status: OK, Message: "reconciler, webhook and dry runs have accounts of their own"}
	for _, name := range []string{reconcilerName, webhookName, dryRunName} {
		var a corev1.ServiceAccount
		switch err := d.client.Get(ctx, client.ObjectKey{Namespace: d.Namespace, Name: name}, &a); {
		case absent(err):
			c.Details = append(c.Details, "ServiceAccount "+d.Namespace+"/"+name+" does not exist")
		case err != nil:
			return unknown(c.ID, "ServiceAccounts of "+d.Namespace, err)
		}
	}
	if len(c.Details) > 0 {
		c.Status, c.Message, c.Advice = Fail, "accounts are missing", "apply deploy/base, or name the right --namespace"
	}
	return c
}

// replicas checks that the servers run, and that the webhook's Service leads to
// them.
func (d *doctor) replicas(ctx context.Context) []Check {
	return []Check{
		d.deployment(ctx, "reconciler-replicas", reconcilerName, "nothing is applied and drift is not corrected"),
		d.deployment(ctx, "webhook-replicas", webhookName, "with the webhook registered, writes are refused"),
		d.endpoints(ctx),
	}
}

func (d *doctor) deployment(ctx context.Context, id, name, without string) Check {
	var dep appsv1.Deployment
	err := d.client.Get(ctx, client.ObjectKey{Namespace: d.Namespace, Name: name}, &dep)
	if absent(err) {
		return Check{ID: id, Status: Fail, Message: fmt.Sprintf("there is no Deployment %s/%s: %s", d.Namespace, name, without),
			Advice: "apply deploy/base, or see that " + name + " runs in another way"}
	}
	if err != nil {
		return unknown(id, "Deployment "+name, err)
	}
	c := Check{ID: id, Status: OK, Message: fmt.Sprintf("%d of %d replicas of %s are ready", dep.Status.ReadyReplicas, wanted(&dep), name)}
	switch {
	case dep.Status.ReadyReplicas == 0:
		c.Status, c.Advice = Fail, without+": kubectl -n "+d.Namespace+" describe deployment "+name
	case dep.Status.ReadyReplicas < wanted(&dep):
		c.Status, c.Advice = Warn, "kubectl -n "+d.Namespace+" describe deployment "+name
	case wanted(&dep) < 2 && name == webhookName:
		c.Status, c.Advice = Warn, "run two: while the only one restarts, writes are refused"
	}
	return c
}

func wanted(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

func (d *doctor) endpoints(ctx context.Context) Check {
	c := Check{ID: "webhook-endpoints", Status: OK}
	ready := map[string]bool{}
	err := pages(ctx, d.client, &discoveryv1.EndpointSliceList{}, func(l *discoveryv1.EndpointSliceList) {
		for _, s := range l.Items {
			for _, e := range s.Endpoints {
				if e.Conditions.Ready == nil || *e.Conditions.Ready {
					for _, a := range e.Addresses {
						ready[a] = true
					}
				}
			}
		}
	}, client.InNamespace(d.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: webhookName})
	if err != nil {
		return unknown(c.ID, "EndpointSlices of "+d.Namespace, err)
	}
	c.Message = count(len(ready), "ready endpoint") + " behind the Service " + webhookName
	switch len(ready) {
	case 0:
		c.Status, c.Advice = Fail, "see the Pods of Deployment "+webhookName+" and the selector of the Service"
	case 1:
		c.Status, c.Advice = Warn, "while the only one is gone, writes are refused"
	}
	return c
}
