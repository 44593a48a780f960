package lock

import (
	"strings"

	"gitgate.dev/gitgate/policy/desired"
)

const (
	tokenVolume = "kube-api-access-"
	tokenMount  = "/var/run/secrets/kubernetes.io/serviceaccount"
)

// volumes takes out the token volume that the ServiceAccount plugin adds, and the
// claims of a StatefulSet.
func (g *graft) volumes() {
	claims := g.claims()
	wanted := map[string]bool{}
	var keep []any
	for _, v := range list(g.want(), "volumes") {
		m, _ := v.(map[string]any)
		name := text(m, "name")
		if claims[name] != "" { // the claim stands in for it
			continue
		}
		wanted[name] = true
		keep = append(keep, v)
	}
	setList(g.want(), "volumes", keep)
	token := ""
	var left []any
	for _, v := range list(g.spec(), "volumes") {
		m, _ := v.(map[string]any)
		name := text(m, "name")
		switch {
		case claims[name] != "" && isClaim(m, claims[name]):
		case token == "" && !wanted[name] && isToken(m):
			token = name
		default:
			left = append(left, v)
		}
	}
	setList(g.spec(), "volumes", left)
	if token != "" {
		g.unmount(token)
	}
}

// setList sets a list, or removes the field where the list is empty.
func setList(m map[string]any, name string, l []any) {
	if len(l) == 0 {
		delete(m, name)
		return
	}
	m[name] = l
}

// claims are the names of the claims of the Pod's StatefulSet, by volume.
func (g *graft) claims() map[string]string {
	out := map[string]string{}
	if g.f.ref.kind != "StatefulSet" {
		return out
	}
	for _, v := range list(object(g.owner, "spec"), "volumeClaimTemplates") {
		m, _ := v.(map[string]any)
		if name := text(m, "metadata", "name"); name != "" {
			out[name] = name + "-" + g.name
		}
	}
	return out
}

func isClaim(v map[string]any, claim string) bool {
	source := object(v, "persistentVolumeClaim")
	for k := range source {
		if k != "claimName" && !(k == "readOnly" && source[k] == false) {
			return false
		}
	}
	return len(v) == 2 && source["claimName"] == claim
}

// tokenSources are what a token volume projects, as the ServiceAccount plugin has
// it since Kubernetes 1.21.
var tokenSources = []any{
	map[string]any{"serviceAccountToken": map[string]any{"expirationSeconds": int64(3607), "path": "token"}},
	map[string]any{"configMap": map[string]any{"name": "kube-root-ca.crt", "items": []any{map[string]any{"key": "ca.crt", "path": "ca.crt"}}}},
	map[string]any{"downwardAPI": map[string]any{"items": []any{map[string]any{
		"path": "namespace", "fieldRef": map[string]any{"apiVersion": "v1", "fieldPath": "metadata.namespace"}}}}},
}

// isToken reports whether a volume is the token volume, in this very shape.
func isToken(v map[string]any) bool {
	name := text(v, "name")
	source := object(v, "projected")
	if !strings.HasPrefix(name, tokenVolume) || len(name) != len(tokenVolume)+5 || len(v) != 2 || len(source) != 2 || source["defaultMode"] != int64(420) {
		return false
	}
	return len(compareTrees(map[string]any{"sources": tokenSources}, map[string]any{"sources": source["sources"]}, nil)) == 0
}

// unmount takes the mount of the token volume out of every container.
func (g *graft) unmount(volume string) {
	for _, field := range containerFields {
		for _, c := range list(g.spec(), field) {
			c, _ := c.(map[string]any)
			var left []any
			for _, v := range list(c, "volumeMounts") {
				m, _ := v.(map[string]any)
				if m["name"] == volume && m["mountPath"] == tokenMount && m["readOnly"] == true && len(m) == 3 {
					continue
				}
				left = append(left, v)
			}
			setList(c, "volumeMounts", left)
		}
	}
}

// containers takes out what is added to single containers.
func (g *graft) containers() {
	for _, fieldName := range containerFields {
		have, want := list(g.spec(), fieldName), list(g.want(), fieldName)
		for i := range min(len(have), len(want)) {
			h, _ := have[i].(map[string]any)
			w, _ := want[i].(map[string]any)
			if h == nil || w == nil {
				continue
			}
			addedResources(h, w)
			if h["imagePullPolicy"] == "Always" && w["imagePullPolicy"] != nil { // AlwaysPullImages
				h["imagePullPolicy"] = w["imagePullPolicy"]
			}
			if g.index != "" && g.f.ref.kind == "Job" {
				withoutIndex(h, w)
			}
			if g.want()["hostNetwork"] == true {
				hostPorts(h, w)
			}
		}
	}
}

// addedResources takes out requests that follow from limits and what LimitRanger
// adds.
func addedResources(have, want map[string]any) {
	h := object(have, "resources")
	for _, part := range [...]string{"requests", "limits"} {
		m, w := object(h, "requests"), object(want, "resources", "requests")
		if part == "limits" {
			m, w = object(h, "limits"), object(want, "resources", "limits")
		}
		for k, v := range m {
			if _, said := w[k]; !said && (compute[k] || part == "requests" && object(h, "limits")[k] == v) {
				delete(m, k)
			}
		}
		if len(m) == 0 && object(want, "resources")[part] == nil {
			delete(h, part)
		}
	}
	if len(h) == 0 && want["resources"] == nil {
		delete(have, "resources")
	}
}

// withoutIndex takes out the completion index that the Job controller hands to
// containers.
func withoutIndex(have, want map[string]any) {
	var left []any
	for _, v := range list(have, "env") {
		m, _ := v.(map[string]any)
		path := text(m, "valueFrom", "fieldRef", "fieldPath")
		if m["name"] == "JOB_COMPLETION_INDEX" && m["value"] == nil && strings.HasSuffix(path, "['"+completionIndex+"']") &&
			(strings.HasPrefix(path, "metadata.labels[") || strings.HasPrefix(path, "metadata.annotations[")) && !hasEnv(want, "JOB_COMPLETION_INDEX") {
			continue
		}
		left = append(left, v)
	}
	setList(have, "env", left)
}

func hasEnv(c map[string]any, name string) bool {
	for _, v := range list(c, "env") {
		if m, _ := v.(map[string]any); m["name"] == name {
			return true
		}
	}
	return false
}

// hostPorts takes out the host ports that equal container ports on the host
// network.
func hostPorts(have, want map[string]any) {
	ports, wanted := list(have, "ports"), list(want, "ports")
	for i := range min(len(ports), len(wanted)) {
		p, _ := ports[i].(map[string]any)
		w, _ := wanted[i].(map[string]any)
		if p != nil && w != nil && w["hostPort"] == nil && p["hostPort"] == p["containerPort"] {
			delete(p, "hostPort")
		}
	}
}

// claimDiffers compares a claim with the template in its StatefulSet or Pod.
func (r *review) claimDiffers(f family, owner map[string]any) []desired.Change {
	name := text(r.new, "metadata", "name")
	if f.ref.kind == "StatefulSet" {
		return r.claimOf(owner, name)
	}
	for _, v := range list(object(owner, "spec"), "volumes") {
		m, _ := v.(map[string]any)
		template := object(m, "ephemeral", "volumeClaimTemplate")
		if template != nil && name == f.ref.name+"-"+text(m, "name") {
			return claimMatches(r.new, template, object(template, "metadata", "labels"))
		}
	}
	return []desired.Change{field("metadata.name", nil, name)}
}

// claimOf compares a claim with the templates of a StatefulSet.
func (r *review) claimOf(owner map[string]any, name string) []desired.Change {
	set := text(owner, "metadata", "name")
	for _, v := range list(object(owner, "spec"), "volumeClaimTemplates") {
		m, _ := v.(map[string]any)
		rest, ok := strings.CutPrefix(name, text(m, "metadata", "name")+"-"+set+"-")
		if !ok || rest == "" || strings.Trim(rest, "0123456789") != "" {
			continue
		}
		labels := map[string]any{}
		for k, v := range object(m, "metadata", "labels") {
			labels[k] = v
		}
		for k, v := range object(owner, "spec", "selector", "matchLabels") {
			labels[k] = v
		}
		return claimMatches(r.new, m, labels)
	}
	return []desired.Change{field("metadata.name", nil, name)}
}

// claimMatches compares a claim with its template. The server adds the default
// class and mode.
func claimMatches(claim, template, labels map[string]any) []desired.Change {
	spec := clone(object(claim, "spec"))
	want := object(template, "spec")
	for _, added := range [...]string{"storageClassName", "volumeMode", "volumeAttributesClassName"} {
		if want[added] == nil {
			delete(spec, added)
		}
	}
	ought := map[string]any{"metadata": pick(map[string]any{"labels": labels, "annotations": object(template, "metadata", "annotations")}, "labels", "annotations"), "spec": want}
	is := map[string]any{"metadata": pick(object(claim, "metadata"), "labels", "annotations"), "spec": spec}
	return compareTrees(ought, is, nil)
}
