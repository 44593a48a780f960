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
	now func() time.Time // nil is the present

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
	for _, w := range l.Current.Wants {
		if w.Manifest != nil && gate.IsException(w.Manifest) {
			s.list = append(s.list, gate.Object{Unstructured: w.Manifest, Source: w.Source})
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.bySync == nil {
		x.bySync = map[types.NamespacedName]syncExceptions{}
	}
	name := types.NamespacedName{Namespace: l.Sync.Namespace, Name: l.Sync.Name}
	if x.bySync[name] = s; len(s.list) == 0 {
		delete(x.bySync, name)
	}
}

func (x *admissionExceptions) drop(name types.NamespacedName) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.bySync, name)
}

// apply applies the exceptions that count for a request to what rules said of it.
func (x *admissionExceptions) apply(req *admissionv1.AdmissionRequest, found []verdict.Finding) []verdict.Finding {
	if !slices.ContainsFunc(found, func(f verdict.Finding) bool { return f.Reason == verdict.PolicyDenied }) {
		return found
	}
	now := time.Now()
	if x.now != nil {
		now = x.now()
	}
	var list []*gate.Exception
	x.mu.RLock()
	for _, s := range x.bySync {
		if s.confine != "" && s.confine != req.Namespace {
			continue
		}
		for _, o := range s.list {
			if e, err := gate.ParseException(o, now); err == nil {
				list = append(list, e)
			}
		}
	}
	x.mu.RUnlock()
	if len(list) == 0 {
		return found
	}
	return gate.NewExceptions(list, now).Apply(found, requested(req))
}

// requested is as much of the object of a request as exceptions look at. What it is
// called is the request's word, and its labels are those that it will have.
func requested(req *admissionv1.AdmissionRequest) *unstructured.Unstructured {
	raw := req.Object.Raw
	if raw == nil {
		raw = req.OldObject.Raw
	}
	var o metav1.PartialObjectMetadata
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: req.Kind.Group, Version: req.Kind.Version, Kind: req.Kind.Kind})
	u.SetName(req.Name)
	u.SetLabels(o.Labels)
	if req.Kind.Kind != "Namespace" || req.Kind.Group != "" {
		u.SetNamespace(req.Namespace)
	}
	return u
}
