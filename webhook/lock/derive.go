package lock

import (
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/verdict"
)

// deriveCreate judges the creation of a child: by the controller, and from what
// the owner's live template says.
func (r *review) deriveCreate(f family, judge *release) ruling {
	if !r.is(f.parent.controller) {
		return deny(MatchedDerived, judge, verdict.NotDerived, "%s claims to be a child of %s %s, but only its controller makes those", r.what(), f.ref.kind, clip(f.ref.name))
	}
	var best []desired.Change
	for i, owner := range f.owners {
		changes := r.differs(f, owner)
		if len(changes) == 0 {
			return r.runs(f, judge)
		}
		if i == 0 || len(changes) < len(best) {
			best = changes
		}
	}
	if len(f.owners) > 0 && r.fromRevision(f) {
		return r.runs(f, judge)
	}
	g := deny(MatchedDerived, judge, verdict.NotDerived, "%s does not derive from %s %s", r.what(), f.ref.kind, clip(f.ref.name))
	g.changes = best
	return g
}

// runs judges the images of a derived Pod. Its template came from Git, so an
// image without evidence is one that this replica has not heard of yet.
func (r *review) runs(f family, judge *release) ruling {
	rel := f.rootedIn()
	if r.key.resource != "pods" || rel == nil || rel.images == nil {
		return allow(MatchedDerived, judge)
	}
	k := r.kindOf()
	for _, ref := range podImages(&k, r.new) {
		if !r.mayRun(f, ref) {
			return pend(MatchedDerived, rel, verdict.ImagePending, "this replica has no evidence for image %s of %s", clip(ref), r.what())
		}
	}
	return allow(MatchedDerived, judge)
}

// differs lists how the new child differs from what the owner makes.
func (r *review) differs(f family, owner map[string]any) []desired.Change {
	switch r.key.group + "/" + r.key.resource {
	case "/pods":
		return r.podDiffers(f, owner, object(owner, "spec", "template"))
	case "apps/replicasets":
		return r.replicaSetDiffers(owner)
	case "batch/jobs":
		return r.jobDiffers(owner)
	case "apps/controllerrevisions":
		return revisionDiffers(r.new, owner)
	case "/persistentvolumeclaims":
		return r.claimDiffers(f, owner)
	}
	return nil // endpoint slices and resource claims: bound by caller and owner
}

// replicaSetDiffers compares a ReplicaSet with its Deployment.
func (r *review) replicaSetDiffers(owner map[string]any) []desired.Change {
	const hash = "pod-template-hash"
	spec, want := object(r.new, "spec"), object(owner, "spec")
	sum := text(r.new, "metadata", "labels", hash)
	template := clone(object(want, "template"))
	selector := clone(object(want, "selector"))
	if template == nil || selector == nil {
		return []desired.Change{field("spec", nil, "a template is missing")}
	}
	if template["metadata"] == nil {
		template["metadata"] = map[string]any{}
	}
	labels := maps.Clone(object(template, "metadata", "labels"))
	if labels == nil {
		labels = map[string]any{}
	}
	labels[hash] = sum
	object(template, "metadata")["labels"] = labels
	match := maps.Clone(object(selector, "matchLabels"))
	if match == nil {
		match = map[string]any{}
	}
	match[hash] = sum
	selector["matchLabels"] = match
	is := map[string]any{"template": object(spec, "template"), "selector": object(spec, "selector"),
		"minReadySeconds": spec["minReadySeconds"], "labels": object(r.new, "metadata", "labels")}
	ought := map[string]any{"template": template, "selector": selector, "minReadySeconds": want["minReadySeconds"], "labels": labels}
	changes := compareTrees(ought, is, nil)
	if sum == "" || text(r.new, "metadata", "name") != text(owner, "metadata", "name")+"-"+sum {
		changes = append(changes, field("metadata.name", nil, text(r.new, "metadata", "name")))
	}
	return append(changes, foreignAnnotations(r.new, owner, "deployment.kubernetes.io/")...)
}

// foreignAnnotations lists the annotations of a child that neither begin with the
// prefix nor are the owner's.
func foreignAnnotations(child, owner map[string]any, prefix string) []desired.Change {
	var out []desired.Change
	theirs := object(owner, "metadata", "annotations")
	for k, v := range object(child, "metadata", "annotations") {
		if !strings.HasPrefix(k, prefix) && theirs[k] != v {
			out = append(out, field("metadata.annotations."+k, theirs[k], v))
		}
	}
	return out
}

func field(path string, old, live any) desired.Change {
	return desired.Change{Path: desired.Path{{Field: path}}, Old: old, New: live}
}

// compareTrees compares two parts of objects of built-in kinds, apart from the
// paths that are open.
func compareTrees(ought, is map[string]any, open [][]string) []desired.Change {
	k := desired.Kind{}
	k.Group, k.Kind = "", "Part"
	var mask *desired.Mask
	if len(open) > 0 {
		mask = k.NewMask(&unstructured.Unstructured{Object: ought}, desired.MaskOptions{Strict: true, Ignore: open})
	}
	return mask.Diff(k.Normalise(ought), k.Normalise(is))
}

// jobDefaults are what the API server sets in a Job and not in the template of
// one.
var jobDefaults = map[string]any{
	"parallelism": int64(1), "completions": int64(1), "backoffLimit": int64(6), "completionMode": "NonIndexed",
	"suspend": false, "podReplacementPolicy": "TerminatingOrFailed", "manualSelector": false,
}

// jobLabels are what the API server adds to the Pods of a Job.
var jobLabels = []string{"batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"}

// jobDiffers compares a Job with its CronJob.
func (r *review) jobDiffers(owner map[string]any) []desired.Change {
	const scheduled = "batch.kubernetes.io/cronjob-scheduled-timestamp"
	want := object(owner, "spec", "jobTemplate")
	job := clone(r.new)
	meta, spec := object(job, "metadata"), object(job, "spec")
	uid, name := text(meta, "uid"), text(meta, "name")
	wantSpec := object(want, "spec")
	for k, v := range jobDefaults {
		if _, said := wantSpec[k]; !said && spec[k] == v {
			delete(spec, k)
		}
	}
	if wantSpec["selector"] == nil {
		if sel := object(spec, "selector"); len(sel) == 1 && len(object(sel, "matchLabels")) == 1 &&
			(text(sel, "matchLabels", jobLabels[0]) == uid || text(sel, "matchLabels", jobLabels[2]) == uid) {
			delete(spec, "selector")
		}
	}
	labels := object(spec, "template", "metadata", "labels")
	if len(object(want, "metadata", "labels")) == 0 && len(labels) > 0 && maps.Equal(object(meta, "labels"), labels) {
		delete(meta, "labels") // the server gives a Job without labels those of its Pods
	}
	for i, l := range jobLabels {
		if v := [...]string{uid, name}[i%2]; labels[l] == v {
			delete(labels, l)
		}
	}
	if len(labels) == 0 {
		delete(object(spec, "template", "metadata"), "labels")
	}
	delete(object(meta, "annotations"), scheduled)
	ought := map[string]any{"metadata": pick(object(want, "metadata"), "labels", "annotations"), "spec": padTemplate(wantSpec, spec)}
	changes := compareTrees(ought, map[string]any{"metadata": pick(meta, "labels", "annotations", "finalizers"), "spec": spec}, nil)
	if !strings.HasPrefix(name, text(owner, "metadata", "name")+"-") {
		changes = append(changes, field("metadata.name", nil, name))
	}
	return changes
}

// padTemplate returns want with a template metadata object where is has an empty
// one: the server makes it when it adds labels.
func padTemplate(want, is map[string]any) map[string]any {
	if object(want, "template")["metadata"] != nil || len(object(is, "template", "metadata")) > 0 {
		return want
	}
	out := maps.Clone(want)
	template := maps.Clone(object(want, "template"))
	if m, there := object(is, "template")["metadata"]; there && template != nil {
		template["metadata"] = m
		out["template"] = template
	}
	return out
}

// pick returns the named collections of a metadata object that are not empty.
func pick(meta map[string]any, names ...string) map[string]any {
	out := map[string]any{}
	for _, n := range names {
		switch v := meta[n].(type) {
		case map[string]any:
			if len(v) > 0 {
				out[n] = v
			}
		case []any:
			if len(v) > 0 {
				out[n] = v
			}
		}
	}
	return out
}

// revisionDiffers compares the template in a ControllerRevision with its owner's.
func revisionDiffers(revision, owner map[string]any) []desired.Change {
	data := clone(object(revision, "data"))
	template := object(data, "spec", "template")
	delete(template, "$patch")
	spec := map[string]any{"template": object(owner, "spec", "template")}
	if v, there := object(data, "spec")["volumeClaimTemplates"]; there && v != nil {
		spec["volumeClaimTemplates"] = object(owner, "spec")["volumeClaimTemplates"]
	}
	return compareTrees(map[string]any{"spec": spec}, data, nil)
}

// fromRevision reports whether a Pod derives from the revision of its StatefulSet
// or DaemonSet that its label names: while an update is under way, Pods of the
// former one are made too.
func (r *review) fromRevision(f family) bool {
	revision, ok := r.revision(f)
	if !ok {
		return false
	}
	owner, ok := controllerOf(revision)
	if !ok || owner.uid != f.ref.uid || owner.kind != f.ref.kind {
		return false
	}
	template := clone(object(revision, "data", "spec", "template"))
	delete(template, "$patch")
	return len(r.podDiffers(f, f.owners[0], template)) == 0
}

// revision finds the revision of its StatefulSet or DaemonSet that a Pod names.
func (r *review) revision(f family) (map[string]any, bool) {
	if r.key.resource != "pods" || f.ref.kind != "StatefulSet" && f.ref.kind != "DaemonSet" {
		return nil, false
	}
	name := text(r.new, "metadata", "labels", "controller-revision-hash")
	if f.ref.kind == "DaemonSet" {
		name = f.ref.name + "-" + name
	}
	gvk := f.ref.gvk()
	gvk.Kind = "ControllerRevision"
	return r.lock.cfg.Owners.Owner(gvk, r.key.namespace, name, "")
}
