package audit

import (
	"crypto/sha256"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

// idOf names an object where it was found.
func idOf(t target, object map[string]any) objectID {
	meta := metadataOf(object)
	id := objectID{t.resource, t.namespace, text(meta, "name")}
	if id.namespace == "" {
		id.namespace = text(meta, "namespace")
	}
	return id
}

// replaced implements [sink].
func (s *session) replaced(t target, objects []map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.listed[t]
	s.listed[t] = true
	delete(s.unseen, t)
	there := make(map[objectID]bool, len(objects))
	for _, o := range objects {
		there[idOf(t, o)] = true
	}
	s.book.each(func(id objectID, e *entry) {
		if e.target == t && !there[id] {
			s.forget(id, e)
		}
	})
	for _, o := range objects {
		s.see(t, o, first)
	}
	s.touchTarget(t)
}

// changed implements [sink].
func (s *session) changed(t target, object map[string]any, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !gone {
		s.see(t, object, false)
		return
	}
	id := idOf(t, object)
	e := s.book.entries[id]
	if e == nil {
		return
	}
	if uidOf(object) != e.uid {
		s.queue.Add(id) // the other one may be left
		return
	}
	s.forget(id, e)
}

// failed implements [sink].
func (s *session) failed(t target, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	why := unseenReason(err)
	if s.unseen[t] == why {
		return
	}
	s.unseen[t] = why
	s.touchTarget(t)
}

// touchTarget has those told who close what the target is in. The caller holds the
// mutex.
func (s *session) touchTarget(t target) {
	for namespace, syncs := range s.closed {
		if t.namespace == "" || t.namespace == namespace {
			s.touch(syncs)
		}
	}
}

// touch has GitSyncs reported anew. The caller holds the mutex.
func (s *session) touch(syncs []types.NamespacedName) {
	for _, name := range syncs {
		s.dirty[name] = true
	}
	signal(s.wake)
}

// see takes up an object that is there. The caller holds the mutex.
func (s *session) see(t target, object map[string]any, earlier bool) {
	id := idOf(t, object)
	if s.closed[id.namespace] == nil {
		return
	}
	uid := uidOf(object)
	e := s.book.entry(id, t, uid, earlier)
	if e == nil {
		s.touch(s.closed[id.namespace])
		return
	}
	if e.uid != uid { // what is written into etcd may be stored twice
		e.uid, e.contested, e.earlier, e.proven = uid, true, false, [sha256.Size]byte{}
	}
	e.refs, _ = metadataOf(object)["ownerReferences"].([]any)
	if _, name := lock.ReadsContent(id.gvr.GroupResource()); name == id.name && !t.whole || e.contested {
		s.await(id, e)
		s.queue.Add(id)
		return
	}
	s.judge(id, e, object)
}

// reconsider judges an object by what is kept of it, or has it read. The caller holds
// the mutex.
func (s *session) reconsider(id objectID, e *entry) {
	_, name := lock.ReadsContent(id.gvr.GroupResource())
	if e.target.whole || id.name == name || e.contested {
		if !e.since.IsZero() || !e.judged {
			s.queue.Add(id)
		}
		return
	}
	object := map[string]any{"metadata": map[string]any{
		"name": id.name, "namespace": id.namespace, "uid": string(e.uid), "ownerReferences": e.refs,
	}}
	_, held := s.held(id)
	if e.stray == nil || held || s.explain(id, e, object).Explained {
		s.judge(id, e, object)
	}
}

// held reports whether somebody may change the object for now.
func (s *session) held(id objectID) (until time.Time, held bool) {
	if s.cfg.Held == nil {
		return time.Time{}, false
	}
	return s.cfg.Held(id.gvr.GroupResource(), id.namespace, id.name)
}

// judge decides about an object. The caller holds the mutex.
func (s *session) judge(id objectID, e *entry, object map[string]any) {
	x := s.explain(id, e, object)
	s.book.rest(id, e, x.Owners)
	if !x.Explained {
		s.unexplained(id, e, x)
		return
	}
	if derivation := lock.Derivation(id.gvr.GroupResource(), object); derivation != nil {
		e.proven = digest(derivation)
	}
	s.explained(id, e)
}

// explain asks why an object is there. The caller holds the mutex.
func (s *session) explain(id objectID, e *entry, object map[string]any) lock.Explanation {
	gr, nothing := id.gvr.GroupResource(), [sha256.Size]byte{}
	proven := false
	if e.proven != nothing {
		proven = digest(lock.Derivation(gr, object)) == e.proven
	}
	x := s.cfg.Explainer.Explain(lock.Found{
		Kind: id.gvk(), Resource: gr, Namespace: id.namespace, Name: id.name, Object: object, Earlier: e.earlier, Proven: proven,
	})
	if x.Explained && slices.ContainsFunc(x.Owners, func(uid types.UID) bool { return s.book.uids[uid] }) {
		x.Explained, x.Reason, x.Why = false, verdict.NotDerived, "what it derives from is not explained itself"
	}
	return x
}

// explained notes that an object is. The caller holds the mutex.
func (s *session) explained(id objectID, e *entry) {
	e.judged, e.since = true, time.Time{}
	s.close(id)
	if e.stray != nil {
		s.cleared(id, e)
	}
}

// await notes that nothing is known of an object yet. The caller holds the mutex.
func (s *session) await(id objectID, e *entry) {
	if !e.judged {
		s.book.open[id] = true
	}
}

// close notes that it is known what an object is. The caller holds the mutex.
func (s *session) close(id objectID) {
	if s.book.open[id] {
		delete(s.book.open, id)
		if len(s.book.open) == 0 {
			signal(s.wake)
		}
	}
}

// unexplained notes that nothing explains an object, and takes it for a stray when
// that lasts. The caller holds the mutex.
func (s *session) unexplained(id objectID, e *entry, x lock.Explanation) {
	s.doubt(id, e, x, settleTime)
}

// doubt is unexplained with a grace of its own, or that of what is pending. The caller
// holds the mutex.
func (s *session) doubt(id objectID, e *entry, x lock.Explanation, wait time.Duration) {
	if until, held := s.held(id); held {
		s.explained(id, e)
		s.queue.AddAfter(id, max(time.Until(until), 0)+settleTime)
		return
	}
	if e.since.IsZero() {
		e.since = time.Now()
	}
	if x.Pending {
		wait = pendingTime
	}
	if left := wait - time.Since(e.since); left > 0 && e.stray == nil {
		s.book.open[id] = true
		s.queue.AddAfter(id, left)
		return
	}
	s.astray(id, e, x)
	if x.Pending {
		s.queue.AddAfter(id, recheckTime)
	}
}

// astray takes an object for a stray. The caller holds the mutex.
func (s *session) astray(id objectID, e *entry, x lock.Explanation) {
	e.judged = true
	stray := Stray{
		Kind: id.gvk(), Resource: id.gvr.GroupResource(), Namespace: id.namespace, Name: id.name, UID: e.uid, Reason: x.Reason, Why: x.Why,
	}
	known := e.stray != nil && e.stray.UID == e.uid
	if known && *e.stray == stray {
		s.close(id)
		return
	}
	if e.stray != nil && !known {
		s.cleared(id, e)
	}
	e.stray = &stray
	s.book.strays[id] = e
	if e.uid != "" {
		s.book.uids[e.uid] = true
	}
	s.close(id)
	s.touch(s.closed[id.namespace])
	if !known {
		s.moved = append(s.moved, move{stray, true})
		s.again(e.uid, 0)
	}
}

// cleared takes a stray for none any more. The caller holds the mutex.
func (s *session) cleared(id objectID, e *entry) {
	s.moved = append(s.moved, move{*e.stray, false})
	uid := e.stray.UID
	delete(s.book.uids, uid)
	delete(s.book.strays, id)
	e.stray = nil
	s.touch(s.closed[id.namespace])
	s.again(uid, 0)
}

// again has the children of an object looked at. The caller holds the mutex.
func (s *session) again(uid types.UID, after time.Duration) {
	for id := range s.book.children[uid] {
		s.queue.AddAfter(id, after)
	}
}

// forget drops an object that is gone. What derives from it goes too, in a while. The
// caller holds the mutex.
func (s *session) forget(id objectID, e *entry) {
	if e.stray != nil {
		s.cleared(id, e)
	}
	s.again(e.uid, pendingTime)
	s.close(id)
	s.book.remove(id, e)
}

// definitions are what kinds come from.
var definitions = []schema.GroupVersionResource{
	{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
	{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"},
}
