package lock

import (
	"bytes"
	"context"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/verdict"
)

// A review is one request on its way to a ruling. Objects are decoded when
// they are first asked for.
type review struct {
	lock *Lock
	ctx  context.Context
	req  *admissionv1.AdmissionRequest
	snap *snapshot

	sub      string // the subresource
	writer   desired.Writer
	key      key
	old, new map[string]any // as sent; nil if there is none
	decoded  bool
	kinship  *release // that the object derives from, where that was looked up
	kept     bool
	// anyone means that nobody asks: an object is there, and who wrote it is not known.
	// Whatever is somebody's to write may be there then. See [Lock.Explain].
	anyone bool
}

// decide routes the request. The order matters: who may ask at all, then what is
// asked for.
func (r *review) decide() ruling {
	cfg := &r.lock.cfg
	r.sub = r.req.SubResource
	r.writer = desired.Writer{User: r.req.UserInfo.Username, Subresource: r.sub}
	if r.req.UserInfo.Username == cfg.DryRunner {
		return r.dryRunner()
	}
	if !cfg.Inventory.Synced() {
		return pend(MatchedNone, nil, verdict.NotReady, "gitgate has not read all releases yet")
	}
	if r.isOwnReport() && r.isOwn() {
		return allow(MatchedSystem, nil)
	}
	doubt := cfg.Inventory.unknown.Load() != nil
	if !doubt && (r.snap.top == nil || r.elsewhere()) { // no lock anywhere, or none here
		return r.open()
	}
	if g, ok := r.name(); !ok {
		return g
	}
	if doubt && r.unknown() {
		return pend(MatchedNone, nil, verdict.NotReady, "gitgate could not verify yet what Git says of %s", r.what())
	}
	if doubt && (r.snap.top == nil || r.elsewhere()) {
		return r.open()
	}
	if g, ok := r.identity(); ok {
		return g
	}
	if g, ok := r.system(); ok {
		return g
	}
	if rec := r.record(); rec != nil {
		return r.managed(rec)
	}
	return r.unmanaged()
}

// stateless are resources that hold nothing of the cluster's state: what happened, and
// questions. Most are never sent.
var stateless = set("/events", "events.k8s.io/events", "authentication.k8s.io/tokenreviews", "authentication.k8s.io/selfsubjectreviews",
	"authorization.k8s.io/subjectaccessreviews", "authorization.k8s.io/localsubjectaccessreviews",
	"authorization.k8s.io/selfsubjectaccessreviews", "authorization.k8s.io/selfsubjectrulesreviews")

// elsewhere reports whether the request is about a namespace in which the lock has
// no business, which can be told without decoding anything.
func (r *review) elsewhere() bool {
	ns := r.req.Namespace
	if stateless[r.req.Resource.Group+"/"+r.req.Resource.Resource] {
		return true
	}
	return ns != "" && ns != "kube-system" && ns != r.lock.cfg.System && r.snap.namespaces[ns] == nil && !r.snap.accounts[ns] &&
		r.req.Resource.Group != ownGroup && !(r.req.Resource.Group == "" && r.req.Resource.Resource == "namespaces") &&
		!(r.sub == "token" && r.dryRun())
}

// dryRunner judges the account that learns D: only what changes nothing and
// answers nothing but the object.
func (r *review) dryRunner() ruling {
	op := r.req.Operation
	dry := r.req.DryRun != nil && *r.req.DryRun
	if dry && r.sub == "" && (op == admissionv1.Create || op == admissionv1.Update) &&
		!(r.req.Resource.Group == "" && r.req.Resource.Resource == "bindings") {
		return allow(MatchedDryRun, nil)
	}
	g := deny(MatchedDryRun, nil, verdict.SubresourceDenied, "the dry-run account may only dry-run the creation and update of objects")
	g.mode = Enforce
	return g.sealed()
}

// name works out which object is meant. The name of a request is empty when it is
// one of a deletecollection, and for generated names.
func (r *review) name() (ruling, bool) {
	req := r.req
	r.key = key{req.Resource.Group, req.Resource.Resource, req.Namespace, req.Name}
	if r.key.group == "" && r.key.resource == "bindings" && r.sub == "" { // the same under its old name
		r.key.resource, r.sub = "pods", "binding"
		if g, ok := r.decode(); !ok {
			return g, false
		}
		r.key.name = cmpOr(text(r.new, "metadata", "name"), r.key.name)
	}
	if req.Resource.Resource == "namespaces" && req.Resource.Group == "" {
		r.key.namespace = "" // a namespace is said to be in itself
	}
	main := req.SubResource == ""
	if main && (r.key.name == "" || req.Operation == admissionv1.Create) {
		if g, ok := r.decode(); !ok {
			return g, false
		}
		from := r.new
		if from == nil {
			from = r.old
		}
		if name := text(from, "metadata", "name"); name != "" {
			r.key.name = name
		}
	}
	if r.key.name == "" && (req.Operation == admissionv1.Update || req.Operation == admissionv1.Delete) {
		return deny(MatchedNone, r.snap.top, verdict.Internal, "the request names no object").sealed(), false
	}
	return ruling{}, true
}

// decode decodes both objects once.
func (r *review) decode() (ruling, bool) {
	if r.decoded {
		return ruling{}, true
	}
	for _, part := range []struct {
		raw []byte
		to  *map[string]any
	}{{r.req.Object.Raw, &r.new}, {r.req.OldObject.Raw, &r.old}} {
		if len(part.raw) == 0 || bytes.Equal(part.raw, []byte("null")) {
			continue
		}
		m, err := decode(part.raw)
		if err != nil {
			return deny(MatchedNone, r.snap.top, verdict.LimitExceeded, "%s cannot be judged: %v", r.what(), err).sealed(), false
		}
		*part.to = m
	}
	r.decoded = true
	return ruling{}, true
}

// kind is the kind of the object asked about, which a review of a subresource may
// not hold.
func (r *review) kind() schema.GroupKind {
	if gvk, ok := gvkOf[r.key.group+"/"+r.key.resource]; ok {
		return gvk.GroupKind()
	}
	return schema.GroupKind{Group: r.req.Kind.Group, Kind: r.req.Kind.Kind}
}

// main reports whether the object itself is asked for.
func (r *review) main() bool { return r.sub == "" }

func (r *review) dryRun() bool { return r.req.DryRun != nil && *r.req.DryRun }

// is reports whether the caller goes by one of the names in a table of writers.
func (r *review) is(names ...string) bool {
	if r.anyone {
		return true
	}
	for _, n := range names {
		if r.writer.Is(n) {
			return true
		}
	}
	return false
}

// node returns the name of the node that the caller is.
func (r *review) node() (string, bool) {
	return strings.CutPrefix(r.writer.User, "system:node:")
}

// scope is what is known of the namespace asked about.
func (r *review) scope() scope {
	ns := r.key.namespace
	if s := r.snap.namespaces[ns]; s != nil && ns != "" {
		return *s
	}
	return scope{}
}

// record returns what is known of the object asked about, or nil. Where several
// GitSyncs claim it, the labels that the lock has guarded so far tell whose it is.
func (r *review) record() *record {
	rec := r.snap.records[r.key]
	if rec == nil || rec.next == nil {
		return rec
	}
	if _, ok := r.decode(); !ok {
		return rec
	}
	labels := object(r.old, "metadata", "labels")
	for c := rec; c != nil; c = c.next {
		sync := c.release().sync
		if labels["gitgate.dev/name"] == sync.Name && labels["gitgate.dev/namespace"] == sync.Namespace {
			return c
		}
	}
	return rec
}
