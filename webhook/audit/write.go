package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// A writtenReport is what is known of a report that is there.
type writtenReport struct {
	digest  string // of what it holds; empty if somebody else wrote it
	version string // its resourceVersion
}

func shardName(base string, n int) string {
	if n == 0 {
		return base
	}
	return fmt.Sprintf("%s-s%d", base, n+1)
}

// baseName is the name without the number of a shard.
func baseName(name string) string {
	if i := strings.LastIndex(name, "-s"); i > 0 && i+2 < len(name) && strings.Trim(name[i+2:], "0123456789") == "" {
		return name[:i]
	}
	return name
}

// discover finds the kinds that can be judged and the formats that can be written.
func (s *scan) discover(ctx context.Context) bool {
	all, silent, err := discoverAll(ctx, s.cfg.Discovery)
	if err != nil {
		logr.FromContextOrDiscard(ctx).Error(err, "The kinds of the cluster are not known; what is known is judged, and it is tried again")
		return false
	}
	var kinds []resource
	served := map[string]bool{}
	for _, r := range all {
		served[r.String()] = true
		if !isReport(r.gvr.Group) {
			kinds = append(kinds, r)
		}
	}
	for _, r := range s.kinds {
		if slices.ContainsFunc(silent, sameGroup(r)) && !slices.Contains(kinds, r) {
			kinds = append(kinds, r)
		}
	}
	var have []format
	var targets []target
	for _, f := range formats {
		if !served[f.gvr(f.namespaced).GroupResource().String()] || !served[f.gvr(f.cluster).GroupResource().String()] {
			continue
		}
		have = append(have, f)
		for _, k := range [...]kindName{f.namespaced, f.cluster} {
			targets = append(targets, target{resource: resource{f.gvr(k), k.kind}})
		}
	}
	s.mu.Lock()
	s.kinds = kinds
	anew := !slices.Equal(s.formats, have)
	s.formats = have
	s.mu.Unlock()
	ended := s.written.follow(ctx, targets)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range ended {
		delete(s.listed, t)
		maps.DeleteFunc(s.reports, func(id reportID, _ writtenReport) bool { return id.group == t.gvr.Group })
	}
	if anew {
		for id := range s.subjects {
			s.queue.Add(id)
		}
	}
	return len(silent) == 0
}

// A reportSink notes which reports there are.
type reportSink scan

func (r *reportSink) replaced(t target, objects []map[string]any) {
	s := (*scan)(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	clusterWide := t.kind == "ClusterReport" || t.kind == "ClusterPolicyReport"
	maps.DeleteFunc(s.reports, func(id reportID, _ writtenReport) bool {
		return id.group == t.gvr.Group && (id.namespace == "") == clusterWide
	})
	for _, o := range objects {
		s.noteReport(t, o, false)
	}
	s.listed[t] = true
	for id := range s.subjects {
		s.queue.Add(id)
	}
	s.sweep()
}

func (r *reportSink) changed(t target, object map[string]any, gone bool) {
	s := (*scan)(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteReport(t, object, gone)
}

func (r *reportSink) failed(t target, err error) {
	s := (*scan)(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.miss(t, err)
}

// noteReport notes a report of ours. One that somebody else wrote, or deleted, is
// written again. The caller holds the mutex.
func (s *scan) noteReport(t target, object map[string]any, gone bool) {
	meta := metadataOf(object)
	labels, _ := meta["labels"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	id := reportID{t.gvr.Group, text(meta, "namespace"), text(meta, "name")}
	known, there := s.reports[id]
	if !there && (labels[managedBy] != source || !strings.HasPrefix(id.name, reportPrefix)) {
		return
	}
	delete(s.unseen, t)
	version := text(meta, "resourceVersion")
	owner, wanted := s.owners[reportID{"", id.namespace, baseName(id.name)}]
	switch {
	case gone:
		delete(s.reports, id)
	case there && known.version == version:
		return
	case there && s.listed[t]: // not what we wrote
		s.reports[id] = writtenReport{version: version}
	default:
		s.reports[id] = writtenReport{text(annotations, digestAnnotation), version}
		if !s.listed[t] {
			return
		}
	}
	if wanted {
		s.queue.AddAfter(owner, gather)
	}
}

// reportsListed reports whether it is known which reports there are. The caller holds
// the mutex.
func (s *scan) reportsListed() bool {
	for _, t := range s.written.targets() {
		if !s.listed[t] {
			return false
		}
	}
	return true
}

// sweep deletes the reports on objects that are no more, from a time when nobody
// watched. Until everything was listed it does nothing. The caller holds the mutex.
func (s *scan) sweep() {
	if !s.reportsListed() {
		return
	}
	for _, t := range s.watches.targets() {
		if !s.listed[t] && s.unseen[t] != noRight {
			return
		}
	}
	for id := range s.reports {
		if _, wanted := s.owners[reportID{"", id.namespace, baseName(id.name)}]; !wanted {
			s.removals.Add(id)
		}
	}
}

// drop deletes the reports on an object. The caller holds the mutex.
func (s *scan) drop(id objectID, uid types.UID) {
	base := baseOf(id, uid)
	for _, f := range formats {
		s.trim(reportID{f.group, base.namespace, base.name}, 0)
	}
}

// trim deletes the reports of one object from a number on. The caller holds the mutex.
func (s *scan) trim(base reportID, from int) {
	for n := from; ; n++ {
		id := reportID{base.group, base.namespace, shardName(base.name, n)}
		if _, there := s.reports[id]; !there {
			return
		}
		s.removals.Add(id)
	}
}

func (s *scan) client(id reportID) (dynamic.ResourceInterface, bool) {
	for _, f := range formats {
		if f.group == id.group {
			return s.cfg.Objects.Resource(f.gvr(f.kindFor(id.namespace))).Namespace(id.namespace), true
		}
	}
	return nil, false
}

// clear deletes reports until the queue ends.
func (s *scan) clear(ctx context.Context) {
	for {
		id, shutdown := s.removals.Get()
		if shutdown {
			return
		}
		s.remove(ctx, id)
		s.removals.Done(id)
	}
}

// remove deletes a report. One that cannot be deleted is tried again by the next
// sweep.
func (s *scan) remove(ctx context.Context, id reportID) {
	client, ok := s.client(id)
	if !ok || s.writes.Wait(ctx) != nil {
		return
	}
	if err := client.Delete(ctx, id.name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		logr.FromContextOrDiscard(ctx).Info("A report could not be deleted", "namespace", id.namespace, "name", id.name, "reason", err.Error())
	}
}

// work writes reports until the queue ends.
func (s *scan) work(ctx context.Context) {
	for {
		id, shutdown := s.queue.Get()
		if shutdown {
			return
		}
		if err := s.write(ctx, id); err != nil && ctx.Err() == nil {
			logr.FromContextOrDiscard(ctx).Info("A report could not be written; it is tried again", "kind", id.kind, "namespace", id.namespace, "name", id.name, "reason", err.Error())
			s.queue.AddAfter(id, writeRetry)
		}
		s.queue.Done(id)
	}
}

// write brings the reports on an object up to date.
func (s *scan) write(ctx context.Context, id objectID) error {
	s.mu.Lock()
	j := s.subjects[id]
	if j == nil || !s.reportsListed() {
		s.mu.Unlock()
		return nil
	}
	var results []Result
	for _, set := range slices.Sorted(maps.Keys(j.results)) {
		results = append(results, j.results[set]...)
	}
	uid, have := j.uid, s.formats
	s.mu.Unlock()
	for _, f := range have {
		documents := f.documents(id, uid, results)
		for _, d := range documents {
			if err := s.apply(ctx, f, id.namespace, d); err != nil {
				return err
			}
		}
		s.mu.Lock()
		s.trim(reportID{f.group, id.namespace, baseOf(id, uid).name}, len(documents))
		s.mu.Unlock()
	}
	return nil
}

// apply writes a report unless it is there already.
func (s *scan) apply(ctx context.Context, f format, namespace string, document map[string]any) error {
	u := &unstructured.Unstructured{Object: document}
	id := reportID{f.group, namespace, u.GetName()}
	digest := u.GetAnnotations()[digestAnnotation]
	s.mu.Lock()
	same := s.reports[id].digest == digest
	s.mu.Unlock()
	if same {
		return nil
	}
	if err := s.writes.Wait(ctx); err != nil {
		return err
	}
	client, _ := s.client(id)
	got, err := client.Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: reportManager, Force: true})
	switch {
	case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, "NamespaceTerminating"):
		return nil // the namespace goes, and the object with it
	case err != nil:
		return err
	}
	s.cfg.Metrics.wrote()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports[id] = writtenReport{digest, got.GetResourceVersion()}
	return nil
}
