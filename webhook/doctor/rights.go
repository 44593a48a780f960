package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// maxQuestions bounds how often the API server is asked about rights.
const maxQuestions = 500

// rights asks the API server whether our accounts may do what the GitSyncs need:
// act as the accounts that they name, and watch what they apply.
func (d *doctor) rights(ctx context.Context) []Check {
	const id = "rights"
	needs, err := d.needs(ctx)
	if err != nil {
		return []Check{unknown(id, "GitSyncs", err)}
	}
	c := Check{ID: id, Status: OK, Message: "gitgate's accounts have the rights that its GitSyncs need"}
	for _, n := range needs {
		allowed, err := d.may(ctx, n)
		if err != nil {
			return []Check{unknown(id, "what "+n.account+" may do", err)}
		}
		if !allowed {
			c.Details = append(c.Details, clean(fmt.Sprintf("%s may not %s", n.account, n.text)))
		}
	}
	if len(c.Details) > 0 {
		c.Status, c.Message = Warn, "gitgate's accounts lack rights: commits are refused, or drift is seen late"
		c.Advice = "see deploy/README.md, section Rights"
	}
	return []Check{c}
}

// A need is a right that one of our accounts should have.
type need struct {
	account string
	text    string
	authorizationv1.ResourceAttributes
}

func (d *doctor) needs(ctx context.Context) ([]need, error) {
	needs := map[string]need{}
	want := func(account string, a authorizationv1.ResourceAttributes, format string, args ...any) {
		n := need{account: account, text: fmt.Sprintf(format, args...), ResourceAttributes: a}
		if len(needs) < maxQuestions {
			needs[account+" "+n.text] = n
		}
	}
	applied := map[schema.GroupKind]bool{}
	err := pages(ctx, d.client, &v1alpha1.GitSyncList{}, func(l *v1alpha1.GitSyncList) {
		for i := range l.Items {
			s := &l.Items[i]
			switch name := s.Spec.ServiceAccountName; {
			case name != "":
				want(reconcilerName, authorizationv1.ResourceAttributes{Verb: "impersonate", Resource: "serviceaccounts", Namespace: s.Namespace, Name: name},
					"act as ServiceAccount %s/%s for GitSync %s", s.Namespace, name, nameOf(s))
			case s.Namespace == d.Namespace:
				want(reconcilerName, authorizationv1.ResourceAttributes{Verb: "*", Group: "*", Resource: "*"},
					"write everything, as GitSync %s without a serviceAccountName needs", nameOf(s))
			}
			for gk := range declared(s) {
				applied[gk] = true
			}
		}
	})
	if err != nil {
		return nil, err
	}
	for gk := range applied {
		mapping, err := d.client.RESTMapper().RESTMapping(gk)
		if err != nil {
			continue // its definition is gone; the GitSync says so
		}
		r := mapping.Resource
		want(reconcilerName, authorizationv1.ResourceAttributes{Verb: "watch", Group: r.Group, Resource: r.Resource},
			"watch %s: drift in them is found within an hour only", r.GroupResource())
	}
	if len(needs) > 0 {
		want(reconcilerName, authorizationv1.ResourceAttributes{Verb: "impersonate", Resource: "serviceaccounts", Namespace: d.Namespace, Name: dryRunName}, "act as %s", dryRunName)
	}
	return slices.SortedFunc(maps.Values(needs), func(a, b need) int { return strings.Compare(a.account+a.text, b.account+b.text) }), nil
}

// declared lists the kinds that a GitSync applied.
func declared(s *v1alpha1.GitSync) map[schema.GroupKind]bool {
	out := map[schema.GroupKind]bool{}
	for e := range s.Status.Inventory.Objects() {
		if _, _, group, kind, ok := e.Parts(); ok {
			out[schema.GroupKind{Group: group, Kind: kind}] = true
		}
	}
	return out
}

// may asks the API server, whatever authorizers it has.
func (d *doctor) may(ctx context.Context, n need) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:               d.user(n.account),
		Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + d.Namespace, "system:authenticated"},
		ResourceAttributes: &n.ResourceAttributes,
	}}
	if err := d.client.Create(ctx, review); err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}
