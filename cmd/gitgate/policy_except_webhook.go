package main

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
)

// admissionExceptions are the PolicyExceptions of the releases that this replica
// verified, for what no GitSync declares. Those of a GitSync count where it may apply.
// What stands in the cluster is not looked at. The zero value has none.
type admissionExceptions struct {
	now     func() time.Time // nil is the present
	changed func()           // is told that others count; nil tells nobody

	mu     sync.RWMutex
	bySync map[types.NamespacedName]syncExceptions
}

type syncExceptions struct {
	confine string // the only namespace in which they count; empty is all
	list    []gate.Object
}

// accept takes over what a release declares. The gate let it pass, so each of its
// exceptions stands where the TrustPolicy wants it, signed.
func (x *admissionExceptions) accept(l reconcile.Locked, system string) {
	s := syncExceptions{}
	if l.Sync.Namespace != system {
		s.confine = l.Sync.Namespace
	}
	wants := l.Current.Wants
	if h := l.Current.Held; h != nil && !(h.Remembered && h.Verified) {
		wants = nil // nobody vouches for them
	}
	for _, w := range wants {
		if w.Manifest != nil && gate.IsException(w.Manifest) {
			s.list = append(s.list, gate.Object{Unstructured: w.Manifest, Source: w.Source})
		}
	}
	x.put(types.NamespacedName{Namespace: l.Sync.Namespace, Name: l.Sync.Name}, s)
}

func (x *admissionExceptions) drop(name types.NamespacedName) { x.put(name, syncExceptions{}) }

// put takes over the exceptions of a GitSync.
func (x *admissionExceptions) put(name types.NamespacedName, s syncExceptions) {
	x.mu.Lock()
	before := len(x.bySync[name].list)
	if x.bySync == nil {
		x.bySync = map[types.NamespacedName]syncExceptions{}
	}
	if x.bySync[name] = s; len(s.list) == 0 {
		delete(x.bySync, name)
	}
	x.mu.Unlock()
	if x.changed != nil && before+len(s.list) > 0 {
		x.changed()
	}
}

// A countingException is one that counts in a namespace, or in all if that is empty.
type countingException struct {
	*gate.Exception
	confine string
}

// all are the exceptions of all releases that can count, also those that ended.
func (x *admissionExceptions) all() (list []countingException) {
	now := x.clock()
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, s := range x.bySync {
		for _, o := range s.list {
			if e, err := gate.ParseException(o, now); err == nil {
				list = append(list, countingException{e, s.confine})
			}
		}
	}
	return list
}

func (x *admissionExceptions) clock() time.Time {
	if x.now != nil {
		return x.now()
	}
	return time.Now()
}

// counting are the exceptions that count for what is in a namespace; nil if there is
// none, or nothing to be excepted.
func (x *admissionExceptions) counting(namespace string, found []verdict.Finding) *gate.Exceptions {
	if !slices.ContainsFunc(found, func(f verdict.Finding) bool { return f.Reason == verdict.PolicyDenied }) {
		return nil
	}
	var list []*gate.Exception
	for _, c := range x.all() {
		if c.confine == "" || c.confine == namespace {
			list = append(list, c.Exception)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return gate.NewExceptions(list, x.clock())
}

// apply applies the exceptions that count for a request to what rules said of it.
func (x *admissionExceptions) apply(req *admissionv1.AdmissionRequest, found []verdict.Finding) []verdict.Finding {
	counting := x.counting(req.Namespace, found)
	if counting == nil {
		return found
	}
	return counting.Apply(found, requested(req))
}

// requested is as much of the object of a request as exceptions look at. What it is
// called is the request's word, and its labels are those that it will have.
func requested(req *admissionv1.AdmissionRequest) *unstructured.Unstructured {
	raw := req.Object.Raw
	if raw == nil {
		raw = req.OldObject.Raw
	}
	return metadataOf(raw, schema.GroupVersionKind(req.Kind), req.Namespace, req.Name)
}

// metadataOf is as much of an object as exceptions look at; nil if it cannot be read.
func metadataOf(raw []byte, kind schema.GroupVersionKind, namespace, name string) *unstructured.Unstructured {
	var o metav1.PartialObjectMetadata
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(kind)
	u.SetName(name)
	u.SetLabels(o.Labels)
	if kind.Kind != "Namespace" || kind.Group != "" {
		u.SetNamespace(namespace)
	}
	return u
}
