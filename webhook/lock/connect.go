package lock

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/verdict"
)

// gvkOf are the kinds behind the resources that reviews of subresources name
// without showing the object.
var gvkOf = map[string]schema.GroupVersionKind{
	"/pods":                   {Version: "v1", Kind: "Pod"},
	"/services":               {Version: "v1", Kind: "Service"},
	"/replicationcontrollers": {Version: "v1", Kind: "ReplicationController"},
	"apps/deployments":        {Group: "apps", Version: "v1", Kind: "Deployment"},
	"apps/replicasets":        {Group: "apps", Version: "v1", Kind: "ReplicaSet"},
	"apps/statefulsets":       {Group: "apps", Version: "v1", Kind: "StatefulSet"},
}

// connect judges a connection into an object that Git does not declare: into a
// Pod of Git's it is refused, and where that cannot be told.
//
// Through nodes/proxy everything in every Pod of the node can be reached, also by
// reading (KEP-2862): it is refused wherever a lock is.
func (r *review) connect(sc scope) ruling {
	own := r.key.namespace == r.lock.cfg.System
	node := r.key.group == "" && r.key.resource == "nodes"
	if sc.closed == nil && sc.managed == nil && !own && !node {
		return r.open()
	}
	if rel := r.delegated(); rel != nil {
		return allow(MatchedDelegated, rel)
	}
	if node {
		return r.connected(r.snap.top)
	}
	rel, e, known := r.relative(sc)
	switch {
	case rel != nil:
	case own:
		rel = r.snap.top
	case known:
		return allow(MatchedOpen, nil)
	default:
		rel = sc.managed
	}
	g := r.connected(rel)
	g.entry = e
	return g
}

// connected refuses a connection: what is done through it leaves no trace in the
// API.
func (r *review) connected(rel *release) ruling {
	g := deny(MatchedDerived, rel, verdict.NoGrant, "%s needs a grant: what is done through it is nothing that Git says", r.what())
	g.next = r.breakglass()
	return g
}
