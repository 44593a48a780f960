package desired

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A Kind is what must be known of a kind to compare its objects.
type Kind struct {
	schema.GroupVersionKind
	// HasStatus means that discovery lists a status subresource, so that the
	// status is not content.
	HasStatus bool
}

// ownUID stands in a normalised object for the object's own UID, which the
// selector and labels of a Job carry.
const ownUID = "\x00uid"

// tokenVolume is how names of projected service account token volumes begin;
// five random characters follow.
const tokenVolume = "kube-api-access-"

// serverFields are the metadata that the server alone decides.
var serverFields = map[string]bool{
	"uid": true, "resourceVersion": true, "generation": true, "creationTimestamp": true,
	"managedFields": true, "selfLink": true, "deletionTimestamp": true, "deletionGracePeriodSeconds": true,
}

// collections are the metadata that may be there and empty, or not be there.
var collections = map[string]bool{
	"labels": true, "annotations": true, "finalizers": true, "ownerReferences": true,
}

// protobufGroups are the groups whose objects are stored in a form that cannot
// tell an empty list from none. Those with free-form JSON inside are left out.
var protobufGroups = map[string]bool{
	"": true, "apps": true, "batch": true, "autoscaling": true, "policy": true,
	"admissionregistration.k8s.io": true, "apiregistration.k8s.io": true, "certificates.k8s.io": true,
	"coordination.k8s.io": true, "discovery.k8s.io": true, "events.k8s.io": true,
	"flowcontrol.apiserver.k8s.io": true, "networking.k8s.io": true, "node.k8s.io": true,
	"rbac.authorization.k8s.io": true, "scheduling.k8s.io": true, "storage.k8s.io": true,
}

// Normalise returns the object without what the server alone decides: server
// metadata, status where it is a subresource, nulls. The object's own UID and
// the random names of token volumes become placeholders.
//
// An empty list equals an absent one only in the built-in groups, whose storage
// cannot tell them apart, and in metadata. An empty object never equals an
// absent one: namespaceSelector: {} in a NetworkPolicy admits every namespace,
// its absence none.
//
// The argument is not changed; the result shares what is equal with it.
func (k Kind) Normalise(obj map[string]any) map[string]any {
	n := normaliser{lists: protobufGroups[k.Group] && k.Kind != "ControllerRevision"}
	if meta, ok := obj["metadata"].(map[string]any); ok {
		n.uid, _ = meta["uid"].(string)
	}
	n.tokens = k.Group == "" && k.Kind == "Pod"
	out := make(map[string]any, len(obj))
	for key, v := range obj {
		switch {
		case v == nil, key == "status" && k.HasStatus:
		case key == "metadata":
			out[key] = n.metadata(v)
		default:
			if v, _, keep := n.value(v); keep {
				out[key] = v
			}
		}
	}
	return out
}

type normaliser struct {
	uid    string
	lists  bool // empty lists equal absent ones
	tokens bool // canonical names for token volumes
}

func (n normaliser) metadata(v any) any {
	meta, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := make(map[string]any, len(meta))
	for key, v := range meta {
		if v == nil || serverFields[key] || collections[key] && empty(v) {
			continue
		}
		if v, _, keep := n.value(v); keep {
			out[key] = v
		}
	}
	return out
}

func empty(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return v == nil
}

// value normalises one value. It reports whether that changed it and whether it
// counts as present.
func (n normaliser) value(v any) (out any, changed, keep bool) {
	switch v := v.(type) {
	case nil:
		return nil, true, false
	case string:
		t := n.text(v)
		return t, t != v, true
	case map[string]any:
		m, changed := n.object(v)
		return m, changed, true
	case []any:
		if len(v) == 0 && n.lists {
			return nil, true, false
		}
		l, changed := n.list(v)
		return l, changed, true
	}
	return v, false, true
}

func (n normaliser) text(s string) string {
	switch {
	case n.uid != "" && s == n.uid:
		return ownUID
	case n.tokens && len(s) == len(tokenVolume)+5 && strings.HasPrefix(s, tokenVolume):
		return tokenVolume
	}
	return s
}

// object copies m only if something in it changes.
func (n normaliser) object(m map[string]any) (out map[string]any, changed bool) {
	out = m
	for key, v := range m {
		nv, differs, keep := n.value(v)
		if !differs {
			continue
		}
		if !changed {
			out, changed = maps.Clone(m), true
		}
		if keep {
			out[key] = nv
		} else {
			delete(out, key)
		}
	}
	return out, changed
}

// list copies l only if something in it changes. Items are never dropped: a null
// among them stays.
func (n normaliser) list(l []any) (out []any, changed bool) {
	out = l
	for i, v := range l {
		nv, differs, keep := n.value(v)
		if !differs || !keep {
			continue
		}
		if !changed {
			out, changed = slices.Clone(l), true
		}
		out[i] = nv
	}
	return out, changed
}
