// Package v1alpha1 holds the kinds that people write to drive gitgate:
// [GitSync], [TrustPolicy], [PolicySet], [PolicyException] and [BreakGlass]. The command line reads
// the very same kinds from files.
//
// +kubebuilder:object:generate=true
// +groupName=gitgate.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of this package.
var GroupVersion = schema.GroupVersion{Group: "gitgate.dev", Version: "v1alpha1"}

// AddToScheme registers the kinds of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&GitSync{}, &GitSyncList{},
		&TrustPolicy{}, &TrustPolicyList{},
		&PolicySet{}, &PolicySetList{},
		&BreakGlass{}, &BreakGlassList{},
		&PolicyException{}, &PolicyExceptionList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
