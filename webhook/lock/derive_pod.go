package lock

import (
	"strconv"
	"strings"

	"gitgate.dev/gitgate/policy/desired"
)

// A graft compares a Pod with the template that it comes from. What controllers
// and the API server's own admission are known to add is taken out of the Pod
// first, each thing only in the very shape that they add it in; whatever is left
// over is a difference.
type graft struct {
	f        family
	owner    map[string]any
	pod      map[string]any // a copy
	template map[string]any // a copy
	name     string
	index    string // of the Pod in its StatefulSet or Job
}

func (r *review) podDiffers(f family, owner, template map[string]any) []desired.Change {
	g := graft{f: f, owner: owner, pod: clone(r.new), template: clone(template)}
	g.name = text(g.pod, "metadata", "name")
	if g.template == nil || object(g.template, "spec") == nil {
		return []desired.Change{field("spec", nil, "a template is missing")}
	}
	if r.anyone {
		g.bound()
	}
	g.controller()
	g.labels()
	g.admission()
	g.volumes()
	g.containers()
	var open [][]string
	for _, l := range r.rows() {
		open = append(open, l.Path)
	}
	ought := map[string]any{"metadata": pick(object(g.template, "metadata"), "labels", "annotations", "finalizers"), "spec": g.template["spec"]}
	is := map[string]any{"metadata": pick(object(g.pod, "metadata"), "labels", "annotations", "finalizers"), "spec": g.pod["spec"]}
	changes := compareTrees(ought, is, open)
	if !strings.HasPrefix(g.name, f.ref.name+"-") {
		changes = append(changes, field("metadata.name", nil, g.name))
	}
	return changes
}

func (g *graft) spec() map[string]any { return object(g.pod, "spec") }
func (g *graft) want() map[string]any { return object(g.template, "spec") }

// strip removes a field that the template does not have, if its value is fit.
func (g *graft) strip(name string, fit func(any) bool) {
	spec := g.spec()
	if v, there := spec[name]; there && g.want()[name] == nil && fit(v) {
		delete(spec, name)
	}
}

func is(want any) func(any) bool { return func(v any) bool { return v == want } }
func anything(any) bool          { return true }

// controller takes out what the owner's controller adds.
func (g *graft) controller() {
	switch g.f.ref.kind {
	case "StatefulSet":
		g.index = strings.TrimPrefix(g.name, g.f.ref.name+"-")
		g.want()["hostname"] = g.name
		delete(g.want(), "subdomain")
		if s := text(g.owner, "spec", "serviceName"); s != "" {
			g.want()["subdomain"] = s
		}
	case "DaemonSet":
		g.nodeAffinity()
	case "Job":
		g.index = text(g.pod, "metadata", "annotations", completionIndex)
		if n, err := strconv.Atoi(g.index); err == nil && n >= 0 && text(g.owner, "spec", "completionMode") == "Indexed" {
			g.want()["hostname"] = g.f.ref.name + "-" + g.index
		} else {
			g.index = ""
		}
		g.finalizer("batch.kubernetes.io/job-tracking")
	}
}

const completionIndex = "batch.kubernetes.io/job-completion-index"

// finalizer takes a finalizer out of the Pod.
func (g *graft) finalizer(name string) {
	var left []any
	for _, f := range list(object(g.pod, "metadata"), "finalizers") {
		if f != name {
			left = append(left, f)
		}
	}
	object(g.pod, "metadata")["finalizers"] = left
}

// nodeAffinity puts the template's required node affinity in place of the one node
// that the DaemonSet controller aims at.
func (g *graft) nodeAffinity() {
	const required = "requiredDuringSchedulingIgnoredDuringExecution"
	node := object(g.spec(), "affinity", "nodeAffinity")
	terms := list(object(node, required), "nodeSelectorTerms")
	if len(terms) != 1 {
		return
	}
	term, _ := terms[0].(map[string]any)
	fields := list(term, "matchFields")
	if len(term) != 1 || len(fields) != 1 {
		return
	}
	f, _ := fields[0].(map[string]any)
	if f["key"] != "metadata.name" || f["operator"] != "In" || len(list(f, "values")) != 1 {
		return
	}
	if was, there := object(g.want(), "affinity", "nodeAffinity")[required]; there {
		node[required] = was
		return
	}
	delete(node, required)
	affinity := object(g.spec(), "affinity")
	if len(node) == 0 && object(g.want(), "affinity")["nodeAffinity"] == nil {
		delete(affinity, "nodeAffinity")
	}
	if len(affinity) == 0 && g.want()["affinity"] == nil {
		delete(g.spec(), "affinity")
	}
}

// labels takes out the labels and annotations that controllers and LimitRanger
// add.
func (g *graft) labels() {
	meta, wanted := object(g.pod, "metadata"), object(g.template, "metadata")
	drop := func(in, name string, fit func(string) bool) {
		m := object(meta, in)
		if v, ok := m[name].(string); ok && object(wanted, in)[name] == nil && fit(v) {
			delete(m, name)
		}
	}
	free := func(string) bool { return true }
	same := func(want string) func(string) bool { return func(v string) bool { return v == want && want != "" } }
	drop("annotations", "kubernetes.io/limit-ranger", free)
	switch g.f.ref.kind {
	case "StatefulSet":
		drop("labels", "controller-revision-hash", free)
		drop("labels", "statefulset.kubernetes.io/pod-name", same(g.name))
		drop("labels", "apps.kubernetes.io/pod-index", same(g.index))
	case "DaemonSet":
		drop("labels", "controller-revision-hash", free)
		drop("labels", "pod-template-generation", free)
	case "Job":
		drop("labels", completionIndex, same(g.index))
		drop("annotations", completionIndex, same(g.index))
		drop("annotations", "batch.kubernetes.io/job-index-failure-count", free)
		drop("annotations", "batch.kubernetes.io/job-index-ignored-failure-count", free)
	}
}

// admission takes out what the API server's own defaults and admission plugins add
// to the Pod as a whole.
func (g *graft) admission() {
	g.strip("enableServiceLinks", is(true))
	g.strip("preemptionPolicy", anything) // Priority: from the class
	g.strip("priority", anything)         // Priority: a client cannot choose it
	g.strip("priorityClassName", func(v any) bool { s, _ := v.(string); return !strings.HasPrefix(s, "system-") })
	g.strip("serviceAccountName", is("default"))
	g.strip("serviceAccount", is(cmpOr(text(g.want(), "serviceAccountName"), "default")))
	g.strip("imagePullSecrets", anything) // ServiceAccount: the account's
	if g.want()["runtimeClassName"] != nil {
		g.strip("overhead", anything)
		g.strip("nodeSelector", anything)
	}
	g.strip("resources", onlyCompute)
	g.tolerations()
}

func cmpOr(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// onlyCompute reports whether resources speak of processor and memory alone.
func onlyCompute(v any) bool {
	m, _ := v.(map[string]any)
	for _, part := range m {
		part, ok := part.(map[string]any)
		if !ok {
			return false
		}
		for k := range part {
			if !compute[k] {
				return false
			}
		}
	}
	return true
}

// compute are the resources that LimitRanger may set and that give nothing but a
// share of the node.
var compute = map[string]bool{"cpu": true, "memory": true, "ephemeral-storage": true}

// tolerations takes out those that follow the template's: of the node conditions,
// and of the extended resources that the Pod asks for.
func (g *graft) tolerations() {
	have, want := list(g.spec(), "tolerations"), list(g.want(), "tolerations")
	if len(have) < len(want) {
		return
	}
	left := append([]any{}, have[:len(want)]...)
	for _, v := range have[len(want):] {
		t, _ := v.(map[string]any)
		if k := text(t, "key"); t["operator"] == "Exists" && (strings.HasPrefix(k, "node.kubernetes.io/") || g.asksFor(k)) {
			continue
		}
		left = append(left, v)
	}
	if len(left) == 0 && g.want()["tolerations"] == nil {
		delete(g.spec(), "tolerations")
		return
	}
	g.spec()["tolerations"] = left
}

// asksFor reports whether a container of the template requests a resource.
func (g *graft) asksFor(resource string) bool {
	if compute[resource] || resource == "" {
		return false
	}
	for _, field := range containerFields {
		for _, c := range list(g.want(), field) {
			c, _ := c.(map[string]any)
			if _, ok := object(c, "resources", "requests")[resource]; ok {
				return true
			}
			if _, ok := object(c, "resources", "limits")[resource]; ok {
				return true
			}
		}
	}
	return false
}

var containerFields = [...]string{"initContainers", "containers"}
