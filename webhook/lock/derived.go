package lock

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/verdict"
)

// adopters may give their children, and take from them, the reference to the owner.
var adopters = map[string][]string{
	"apps/replicasets":                {"deployment-controller"},
	"/pods":                           {"replicaset-controller", "statefulset-controller", "daemon-set-controller", "job-controller", "replication-controller"},
	"apps/controllerrevisions":        {"statefulset-controller", "daemon-set-controller"},
	"batch/jobs":                      {"cronjob-controller"},
	"/persistentvolumeclaims":         {"statefulset-controller"},
	"discovery.k8s.io/endpointslices": {"endpointslice-controller", "endpointslicemirroring-controller"},
}

func row(writers []string, path ...string) desired.Leaf {
	return desired.Leaf{Path: path, Writers: writers, Subresource: desired.AnySubresource}
}

// childRows are the leaves of children that controllers write, beside the table of
// open leaves.
var childRows = map[string][]desired.Leaf{
	"apps/replicasets": {
		row([]string{"deployment-controller"}, "spec", "replicas"), row([]string{"deployment-controller"}, "spec", "minReadySeconds"),
		row([]string{"deployment-controller"}, "metadata", "annotations"),
	},
	"/pods": {
		row([]string{"statefulset-controller"}, "metadata", "labels", "statefulset.kubernetes.io/pod-name"),
		row([]string{"statefulset-controller"}, "metadata", "labels", "apps.kubernetes.io/pod-index"),
		row([]string{"daemon-set-controller"}, "metadata", "labels", "controller-revision-hash"),
		row([]string{"daemon-set-controller"}, "metadata", "labels", "pod-template-generation"),
	},
	"apps/controllerrevisions": {
		row([]string{"statefulset-controller", "daemon-set-controller"}, "revision"),
		row([]string{"statefulset-controller", "daemon-set-controller"}, "metadata", "labels"),
		row([]string{"statefulset-controller", "daemon-set-controller"}, "metadata", "annotations"),
	},
	"/persistentvolumeclaims": {
		row([]string{"ephemeral-volume-controller", "pvc-protection-controller"}, "metadata", "finalizers"),
	},
}

// guard makes the guard for an object that Git does not declare: the table of open
// leaves, what controllers write in their children, and more.
func (r *review) guard(more []desired.Leaf) *desired.Guard {
	rows := append(r.rows(), more...)
	return r.kindOf().NewGuard(&unstructured.Unstructured{Object: map[string]any{}}, desired.GuardOptions{Delegated: rows})
}

// deriveUpdate judges the change of a child: only the leaves that are the
// writer's.
func (r *review) deriveUpdate(f family) ruling {
	resource := r.key.group + "/" + r.key.resource
	if resource == "discovery.k8s.io/endpointslices" && r.is(f.parent.controller) {
		return ruling{allowed: true} // its content is what the controller sees
	}
	rows := append([]desired.Leaf{}, childRows[resource]...)
	if names := adopters[resource]; names != nil {
		rows = append(rows, row(names, "metadata", "ownerReferences"))
	}
	changes := r.away(r.guard(rows))
	if len(changes) == 0 && resource == "apps/replicasets" {
		changes = r.annotations(f)
	}
	if len(changes) == 0 {
		return ruling{allowed: true}
	}
	g := deny(MatchedDerived, nil, verdict.NotDerived, "%s is made by a controller from %s %s, and this would change it", r.what(), f.ref.kind, clip(f.ref.name))
	g.changes = changes
	return g
}

// annotations lists the annotations that a ReplicaSet would get and that are not
// its Deployment's.
func (r *review) annotations(f family) []desired.Change {
	var best []desired.Change
	for i, owner := range f.owners {
		var out []desired.Change
		before := object(r.old, "metadata", "annotations")
		for _, c := range foreignAnnotations(r.new, owner, "deployment.kubernetes.io/") {
			name := c.Path[0].Field[len("metadata.annotations."):]
			if before[name] != c.New {
				out = append(out, c)
			}
		}
		if len(out) == 0 {
			return nil
		}
		if i == 0 {
			best = out
		}
	}
	return best
}

// deriveDelete judges the deletion of a child.
func (r *review) deriveDelete(f family) ruling {
	switch {
	case text(r.old, "metadata", "deletionTimestamp") != "":
		return ruling{allowed: true} // it goes already
	case r.is(f.parent.controller, "generic-garbage-collector", "namespace-controller"), r.applies(f.rootedIn()):
		return ruling{allowed: true}
	case r.key.group == "" && r.key.resource == "pods":
		return ruling{allowed: true} // its controller makes another
	case r.key.resource == "jobs" && r.is("ttl-after-finished-controller"), r.key.resource == "persistentvolumeclaims" && r.is("statefulset-controller", "pvc-protection-controller"):
		return ruling{allowed: true}
	case r.delegated() != nil:
		return ruling{allowed: true}
	}
	return deny(MatchedDerived, nil, verdict.ManagedDelete, "%s is kept by the controller of %s %s", r.what(), f.ref.kind, clip(f.ref.name))
}
