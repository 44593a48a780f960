package registration

import (
	"maps"
	"slices"
	"strings"

	arv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/webhook/lock"
)

// Name is the name of the ValidatingWebhookConfiguration.
const Name = "gitgate"

const (
	webhookPinned = "pinned.lock.gitgate.dev"
	webhookAll    = "lock.gitgate.dev"
	// timeoutSeconds is what the API server waits; we answer within three.
	timeoutSeconds = 5
)

var labels = map[string]string{"app.kubernetes.io/name": "gitgate", "app.kubernetes.io/managed-by": "gitgate-webhook"}

// A Pins says for each resource that is served in several versions which of them
// the webhook is asked in.
type Pins map[schema.GroupResource]string

// sorted returns the pinned resources in order.
func (p Pins) sorted() []schema.GroupResource {
	return slices.SortedFunc(maps.Keys(p), func(a, b schema.GroupResource) int {
		return strings.Compare(a.Group+"/"+a.Resource, b.Group+"/"+b.Resource)
	})
}

// Configuration returns the ValidatingWebhookConfiguration. Every field that the
// API server would fill in is set, so that what is stored can be compared with it.
//
// Its first webhook names the version of each pinned resource; with matchPolicy
// Equivalent the API server converts to it whatever was written. The second
// catches all others: under apiVersions "*" nothing is converted.
func (c Config) Configuration(mode lock.Mode, bundle []byte, pins Pins) *arv1.ValidatingWebhookConfiguration {
	conditions := make([]arv1.MatchCondition, 0, 32)
	for _, p := range c.Pairs() {
		conditions = append(conditions, arv1.MatchCondition{Name: "without-" + p.Name, Expression: "!(" + p.When + ")"})
	}
	var hooks []arv1.ValidatingWebhook
	rest := conditions
	if len(pins) > 0 {
		hooks = append(hooks, c.webhook(webhookPinned, mode, bundle, pins.rules(), conditions))
		rest = append(slices.Clone(conditions), arv1.MatchCondition{Name: "without-pinned", Expression: pins.others()})
	}
	everything := []arv1.RuleWithOperations{rule("*", anything, "*/*").RuleWithOperations}
	hooks = append(hooks, c.webhook(webhookAll, mode, bundle, everything, rest))
	return &arv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: Name, Labels: maps.Clone(labels)},
		Webhooks:   hooks,
	}
}

func (c Config) webhook(name string, mode lock.Mode, bundle []byte, rules []arv1.RuleWithOperations, conditions []arv1.MatchCondition) arv1.ValidatingWebhook {
	failure, match, effects, timeout := arv1.Fail, arv1.Equivalent, arv1.SideEffectClassNone, int32(timeoutSeconds)
	if mode == lock.Audit {
		failure = arv1.Ignore // see the package comment
	}
	client := arv1.WebhookClientConfig{CABundle: bundle}
	if c.Service != nil {
		path, port := c.Path, c.Service.Port
		client.Service = &arv1.ServiceReference{Namespace: c.Service.Namespace, Name: c.Service.Name, Path: &path, Port: &port}
	} else {
		url := c.URL
		client.URL = &url
	}
	return arv1.ValidatingWebhook{
		Name: name, ClientConfig: client, Rules: rules, FailurePolicy: &failure, MatchPolicy: &match,
		NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{},
		SideEffects: &effects, TimeoutSeconds: &timeout, AdmissionReviewVersions: []string{"v1"},
		MatchConditions: conditions,
	}
}

func (p Pins) rules() []arv1.RuleWithOperations {
	out := make([]arv1.RuleWithOperations, 0, len(p))
	for _, gr := range p.sorted() {
		r := rule(gr.Group, anything, gr.Resource, gr.Resource+"/*").RuleWithOperations
		r.APIVersions = []string{p[gr]}
		out = append(out, r)
	}
	return out
}

// others is true of what is not pinned.
func (p Pins) others() string {
	var names []string
	for _, gr := range p.sorted() {
		names = append(names, gr.Group+"/"+gr.Resource)
	}
	return "!((request.resource.group + '/' + request.resource.resource) in " + list(names) + ")"
}
