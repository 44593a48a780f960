package main

import (
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/apply"
	"gitgate.dev/gitgate/verify/image"
	"gitgate.dev/gitgate/webhook/lock"
)

// lockSink hands what the mirror verified to the lock. It implements
// [reconcile.Sink].
type lockSink struct {
	inventory *lock.Inventory
	images    *verifiedImages
	system    string // our own namespace
	changed   func() // the strictest mode or the versions may be others now

	mu     sync.Mutex
	states map[types.NamespacedName]lockState
	// unknown is the strictest mode of the locks that could not be verified yet: what
	// they hold must not come free because nobody knows what it is.
	unknown lock.Mode
}

// A lockState is what the lock was told of one GitSync last.
type lockState struct {
	uid             types.UID
	generation      int64
	writer          string
	former, current *reconcile.Verified
	mode            lock.Mode
	versions        map[schema.GroupResource]string
}

// newLockSink returns a sink that has been told of nothing.
func newLockSink(system string, inventory *lock.Inventory, images *verifiedImages, changed func()) *lockSink {
	images.system = system
	return &lockSink{
		inventory: inventory, images: images, system: system, changed: changed,
		states: map[types.NamespacedName]lockState{}, unknown: lock.Off,
	}
}

// Accept implements [reconcile.Sink]. It is called at every look at the GitSync,
// and most find what the last one found: then nothing is built anew.
func (s *lockSink) Accept(l reconcile.Locked) {
	name := types.NamespacedName{Namespace: l.Sync.Namespace, Name: l.Sync.Name}
	next := lockState{
		uid: l.Sync.UID, generation: l.Sync.Generation, writer: l.Writer, former: l.Former, current: l.Current,
		mode: lock.Mode(l.Sync.LockMode()),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.states[name]
	if last.current == next.current && last.uid == next.uid && last.generation == next.generation && last.writer == next.writer {
		if last.former == next.former {
			return
		}
		if next.former == nil {
			s.inventory.Applied(name, next.current.Revision)
			s.keep(name, l, next)
			return
		}
	}
	// The lock itself takes what it has for the former state; only where that is
	// another one does it have to be told.
	if l.Former != nil && !last.leadsTo(next) {
		s.tell(s.release(l, l.Former, true))
	}
	s.tell(s.release(l, l.Current, l.Former == nil))
	s.keep(name, l, next)
}

// leadsTo reports whether the lock that was told of this state has next's former
// revision for its own former one once it is told of next's current one.
func (s lockState) leadsTo(next lockState) bool {
	is := func(v *reconcile.Verified, revision string) bool { return v != nil && v.Revision == revision }
	return is(s.current, next.former.Revision) ||
		is(s.former, next.former.Revision) && is(s.current, next.current.Revision)
}

// keep remembers what the lock was told. The caller holds the mutex.
func (s *lockSink) keep(name types.NamespacedName, l reconcile.Locked, next lockState) {
	next.versions = versions(l)
	s.images.accept(l)
	s.images.exceptions.accept(l, s.system)
	s.states[name] = next
	s.changed()
}

func (s *lockSink) tell(r lock.Release) {
	if err := s.inventory.Accept(r); err != nil {
		klog.Background().Error(err, "Not everything that Git declares can be locked; writes of the rest are refused", "gitsync", r.Sync.String())
	}
}

// Retire implements [reconcile.Sink].
func (s *lockSink) Retire(name types.NamespacedName, images []image.Evidence) {
	retired := make([]lock.VerifiedImage, len(images))
	for i, e := range images {
		retired[i] = lockImage(e)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.states[name]; known {
		s.inventory.Retire(name, retired)
		s.images.retire(name, images)
	}
}

// Announce implements [reconcile.Sink].
func (s *lockSink) Announce(name types.NamespacedName, revision string) {
	s.inventory.Announce(name, revision)
}

// Drop implements [reconcile.Sink].
func (s *lockSink) Drop(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inventory.Drop(name)
	s.images.drop(name)
	delete(s.states, name)
	s.changed()
}

// Unknown implements [reconcile.Sink]. What such a GitSync may hold is told by its own
// spec and by the inventory in its status, which nobody but the reconciler writes while
// a lock enforces, and which can but put off more. Our own namespace has its own rules.
func (s *lockSink) Unknown(all []*v1alpha1.GitSync) {
	u := lock.Unknown{Namespaces: map[string]bool{}, Objects: map[lock.UnknownObject]bool{}}
	strictest := lock.Off
	for _, sync := range all {
		strictest = lock.Strictest(strictest, lock.Mode(sync.LockMode()))
		for _, n := range sync.Spec.Lock.Namespaces {
			u.Namespaces[n] = n != s.system
		}
		for e := range sync.Status.Inventory.Objects() {
			if group, kind, namespace, name, err := (apply.Entry{ID: e.ID, V: e.Version}).Object(); err == nil {
				u.Objects[lock.UnknownObject{Group: group, Kind: kind, Namespace: namespace, Name: name}] = true
			}
		}
	}
	s.inventory.SetUnknown(u)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unknown = strictest
}

// Synced implements [reconcile.Sink].
func (s *lockSink) Synced() {
	s.inventory.SetSynced(true)
	s.changed()
}

// mode is the strictest mode of any lock.
func (s *lockSink) mode() lock.Mode {
	s.mu.Lock()
	defer s.mu.Unlock()
	strictest := s.unknown
	for _, state := range s.states {
		strictest = lock.Strictest(strictest, state.mode)
	}
	return strictest
}

// version is the version in which Git has objects of a resource; empty for none.
func (s *lockSink) version(gr schema.GroupResource) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := ""
	for _, state := range s.states {
		found = max(found, state.versions[gr]) // any, but always the same
	}
	return found
}

func versions(l reconcile.Locked) map[schema.GroupResource]string {
	out := map[schema.GroupResource]string{}
	for _, w := range l.Current.Wants {
		gr := w.Resource.GroupResource()
		out[gr] = max(out[gr], w.Resource.Version)
	}
	return out
}

// release translates a verified revision.
func (s *lockSink) release(l reconcile.Locked, v *reconcile.Verified, applied bool) lock.Release {
	spec := l.Sync.Spec.Lock
	r := lock.Release{
		Sync:     types.NamespacedName{Namespace: l.Sync.Namespace, Name: l.Sync.Name},
		Revision: v.Revision, Mode: lock.Mode(l.Sync.LockMode()), Namespaces: spec.Namespaces,
		Writer: l.Writer, Applied: applied, Force: l.Sync.Spec.Force, Confined: l.Sync.Namespace != s.system, Images: []lock.VerifiedImage{},
	}
	if v.Held != nil {
		r.Refused = v.Held.Why
	}
	for _, ref := range []*v1alpha1.LocalReference{l.Sync.Spec.SecretRef, decryptionSecret(l.Sync)} {
		if ref != nil {
			r.Secrets = append(r.Secrets, ref.Name)
		}
	}
	for _, d := range spec.Delegations {
		if given, ok := delegation(d); ok {
			r.Delegations = append(r.Delegations, given)
		}
	}
	for _, w := range v.Wants {
		r.Objects = append(r.Objects, lockObject(w))
	}
	for _, e := range v.Images {
		r.Images = append(r.Images, lockImage(e))
	}
	return r
}

func decryptionSecret(sync *v1alpha1.GitSync) *v1alpha1.LocalReference {
	if d := sync.Spec.Decryption; d != nil {
		return d.SecretRef
	}
	return nil
}

func lockObject(w apply.Want) lock.Object {
	return lock.Object{
		Kind: w.Kind, Resource: w.Resource, Namespace: w.Namespace, Name: w.Name,
		Manifest: w.Manifest, Desired: w.Desired, Declared: w.Declared,
		Ignore: w.Ignore, File: w.Source.File, Line: w.Source.Line,
		Live: w.Live, Frozen: w.Frozen, Autoscaled: w.Autoscaled,
	}
}

// delegation translates a delegation. A path that is no JSON pointer, which the API
// refuses, voids all of it: no path at all would grant more.
func delegation(d v1alpha1.Delegation) (lock.Delegation, bool) {
	out := lock.Delegation{Writer: d.Writer}
	if t := d.Target; t != nil {
		out.Target = lock.Target(*t)
	}
	for _, p := range d.Paths {
		segments, err := desired.ParsePointer(p)
		if err != nil {
			return out, false
		}
		out.Paths = append(out.Paths, segments)
	}
	return out, len(out.Paths) > 0 || out.Target.Kind != ""
}

func lockImage(e image.Evidence) lock.VerifiedImage {
	v := lock.VerifiedImage{Repository: e.Image(), Digest: e.Digest()}
	if !strings.Contains(e.Reference(), "@") {
		v.Tag = e.Tag()
	}
	return v
}
