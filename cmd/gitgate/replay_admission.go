package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/lock"
)

// admission judges by the rules what the webhook judged by them.
func (p *replayer) admission(ctx context.Context, d *loggedDecision, item *replayedItem) error {
	switch {
	case d.Matched != lock.MatchedOpen:
		item.Why = "not rules but the lock decided, by what stood in the cluster"
		return nil
	case d.Operation == string(admissionv1.Connect):
		item.Why = "what is done through a connection is not judged by rules"
		return nil
	}
	req := d.request()
	if d.Object == nil && d.OldObject == nil {
		item.Why = "the log does not hold the object: gitgate webhook writes it with --log-objects, if it is not too large"
		return nil
	}
	then, err := withoutStage(d.Findings, verdict.StageImage)
	if err != nil {
		item.Why = "the findings of the decision cannot be read"
		return nil
	}
	var withheld *reconcile.WithheldError
	if err := p.admissionRules(ctx); errors.As(err, &withheld) {
		item.Why = withheld.Error()
		return nil
	} else if err != nil {
		return err
	}
	p.gates.now = func() time.Time { return d.Time }
	var now []json.RawMessage
	blocks := false
	for _, f := range p.judge.Judge(ctx, req) {
		raw, err := json.Marshal(f)
		if err != nil {
			return err
		}
		if f.Stage != verdict.StageImage {
			now, blocks = append(now, raw), blocks || f.Severity.Blocks()
		}
	}
	item.Now = answer(!blocks, false)
	item.compare(then, now)
	return nil
}

// request is the request that was decided, as far as the log holds it.
func (d *loggedDecision) request() *admissionv1.AdmissionRequest {
	group, version, ok := strings.Cut(d.APIVersion, "/")
	if !ok {
		group, version = "", group
	}
	resource := schema.ParseGroupResource(d.Resource)
	return &admissionv1.AdmissionRequest{
		Operation:   admissionv1.Operation(d.Operation),
		Kind:        metav1.GroupVersionKind{Group: group, Version: version, Kind: d.Kind},
		Resource:    metav1.GroupVersionResource{Group: resource.Group, Version: version, Resource: resource.Resource},
		SubResource: d.Subresource, Namespace: d.Namespace, Name: d.Name,
		Object: runtime.RawExtension{Raw: d.Object}, OldObject: runtime.RawExtension{Raw: d.OldObject},
	}
}

// admissionRules makes the rules as the webhook does, once.
func (p *replayer) admissionRules(ctx context.Context) error {
	if p.judge != nil {
		return nil
	}
	judge := &admissionJudge{images: &verifiedImages{}}
	config := p.config
	if files, ok := config.(*configuration); ok {
		config = listing{files}
	}
	rules := reconcile.AdmissionRules{
		Client: config, Direct: config, Rules: p.rules, SystemNamespace: p.system,
		Build: func(ctx context.Context, sets []reconcile.PolicyInput, trusts []v1alpha1.TrustPolicy) error {
			for _, set := range sets {
				if set.Withheld != nil {
					return set.Withheld
				}
			}
			_, err := p.gates.engine(ctx, sets) // the webhook lives with a set that is broken; here it is told
			if err != nil {
				return err
			}
			if p.audits, err = p.gates.auditSets(ctx, sets, &judge.images.exceptions); err != nil {
				return err
			}
			return judge.build(ctx, p.gates, sets, trusts)
		},
	}
	var withheld *reconcile.WithheldError
	if _, err := rules.Reconcile(ctx, ctrl.Request{}); errors.As(err, &withheld) {
		return withheld
	} else if err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	p.judge = judge
	return nil
}

// A listing is a configuration of files that can be listed for what judges at
// admission.
type listing struct{ *configuration }

// List implements [client.Reader].
func (l listing) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	for _, key := range l.order {
		switch out := into.(type) {
		case *v1alpha1.PolicySetList:
			if s, ok := l.objects[key].object.(*v1alpha1.PolicySet); ok {
				out.Items = append(out.Items, *s)
			}
		case *v1alpha1.TrustPolicyList:
			if t, ok := l.objects[key].object.(*v1alpha1.TrustPolicy); ok {
				out.Items = append(out.Items, *t)
			}
		default:
			return fmt.Errorf("%T cannot be listed", into)
		}
	}
	return nil
}
