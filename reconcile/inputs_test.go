package reconcile

import (
	"context"
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// shelf reads one TrustPolicy and PolicySets of any name but "missing".
type shelf struct {
	client.Reader
	trust v1alpha1.TrustPolicy
}

func (s shelf) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	switch o := into.(type) {
	case *v1alpha1.TrustPolicy:
		s.trust.DeepCopyInto(o)
		return nil
	case *v1alpha1.PolicySet:
		if key.Name != "missing" {
			o.Name = key.Name
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func refs(names ...string) (out []v1alpha1.LocalReference) {
	for _, n := range names {
		out = append(out, v1alpha1.LocalReference{Name: n})
	}
	return out
}

// resolved returns the sets that judge a tenant's GitSync.
func resolved(t *testing.T, demanded, named []v1alpha1.LocalReference) ([]string, error) {
	trust := v1alpha1.TrustPolicy{}
	trust.Spec.Namespaces, trust.Spec.Policies = []string{"team"}, demanded
	trust.Spec.Repositories = []v1alpha1.TrustedRepository{{URL: "https://git.example.com/a.git", Refs: []string{"main"}}}
	sync := &v1alpha1.GitSync{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "shop"}}
	sync.Spec.URL, sync.Spec.Ref.Branch, sync.Spec.ServiceAccountName = "https://git.example.com/a.git", "main", "deployer"
	sync.Spec.Policies = named
	r := resolver{cached: shelf{trust: trust}, system: "gitgate-system"}
	in, _, err := r.resolve(t.Context(), sync)
	var names []string
	for _, p := range in.Policies {
		names = append(names, p.Set.Name)
	}
	return names, err
}

// Who may write a GitSync may add rules and not leave any out.
func TestTrustPolicyDemandsPolicies(t *testing.T) {
	for name, tc := range map[string]struct {
		demanded, named []v1alpha1.LocalReference
		want            []string
	}{
		"None":  {refs("base"), nil, []string{"base"}},
		"More":  {refs("base"), refs("own"), []string{"base", "own"}},
		"Twice": {refs("base"), refs("own", "base"), []string{"base", "own"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := resolved(t, tc.demanded, tc.named)
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("sets %v (%v), want %v", got, err, tc.want)
			}
		})
	}
	if _, err := resolved(t, refs("missing"), nil); err == nil {
		t.Error("a set that does not exist is passed over")
	}
}
