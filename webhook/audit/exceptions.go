package audit

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// maxClock is how long the clock is trusted to go on evenly: the end of an exception is
// looked at again at least as often.
const maxClock = 5 * time.Minute

// An Exemption says which objects an exception may be about, and until when. Whether it
// covers what a rule says of them is for [PolicySet].Judge to know.
type Exemption struct {
	// ID is equal for as long as the exception says the same.
	ID string
	// PolicySets are those whose rules it may except from.
	PolicySets []string
	Kinds      []schema.GroupKind
	// Namespaces are where its objects are; none means that they are in none.
	Namespaces []string
	// Names are what its objects are called; none leaves it to Labels.
	Names []string
	// Labels select its objects; nil leaves it to Names.
	Labels  labels.Selector
	Expires time.Time
}

func (e Exemption) holds(r resource) bool {
	return slices.Contains(e.Kinds, schema.GroupKind{Group: r.gvr.Group, Kind: r.kind})
}

// SetExceptions says what is excepted from now on. The objects of exceptions that are
// new, gone or at their end are judged again, and no others.
func (s *Scanner) SetExceptions(list []Exemption) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exempt = make(map[string]Exemption, len(list))
	for _, e := range list {
		s.exempt[e.ID] = e
	}
	signal(s.kick)
}

// exceptions are those that count at a time, and when the next of them ends; zero for
// never.
func (s *Scanner) exceptions(now time.Time) (counting map[string]Exemption, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counting = make(map[string]Exemption, len(s.exempt))
	for id, e := range s.exempt {
		if !now.Before(e.Expires) {
			continue
		}
		counting[id] = e
		if next.IsZero() || e.Expires.Before(next) {
			next = e.Expires
		}
	}
	return counting, next
}

// untilNext is how long to wait for the next end; nil for ever.
func untilNext(now, next time.Time) <-chan time.Time {
	if next.IsZero() {
		return nil
	}
	return time.After(min(next.Sub(now), maxClock))
}

// except has the objects judged again of exceptions that began or ended to count.
func (s *scan) except(ctx context.Context, counting map[string]Exemption) {
	var moved []Exemption
	for id, e := range counting {
		if _, before := s.exempt[id]; !before {
			moved = append(moved, e)
		}
	}
	for id, e := range s.exempt {
		if _, still := counting[id]; !still {
			moved = append(moved, e)
		}
	}
	s.exempt = maps.Clone(counting)
	for _, e := range moved {
		s.reexamine(ctx, e)
	}
}

// reexamine judges the objects of an exception again. What fails is tried again.
func (s *scan) reexamine(ctx context.Context, e Exemption) {
	for _, t := range s.watches.targets() {
		if !e.holds(t.resource) {
			continue
		}
		if err := s.rejudgeExempt(ctx, t, e); err != nil && ctx.Err() == nil {
			logr.FromContextOrDiscard(ctx).Info("The objects of a PolicyException that changed could not be judged again; it is tried again", "kind", t.String(), "reason", err.Error())
			time.AfterFunc(recheckTime, func() {
				if ctx.Err() == nil {
					s.reexamine(ctx, e)
				}
			})
			return
		}
	}
}

func (s *scan) rejudgeExempt(ctx context.Context, t target, e Exemption) error {
	namespaces := e.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	for _, namespace := range namespaces {
		api := s.cfg.Objects.Resource(t.gvr).Namespace(namespace)
		if len(e.Names) == 0 {
			if err := s.rejudgeSelected(ctx, t, api, e); err != nil {
				return err
			}
			continue
		}
		for _, name := range e.Names {
			o, err := api.Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				continue
			}
			if err != nil {
				return err
			}
			s.seeAgain(t, []map[string]any{o.Object}, e.PolicySets)
		}
	}
	return nil
}

// rejudgeSelected judges what labels select, page by page.
func (s *scan) rejudgeSelected(ctx context.Context, t target, api dynamic.ResourceInterface, e Exemption) error {
	if e.Labels == nil {
		return nil
	}
	options := metav1.ListOptions{Limit: listPage, LabelSelector: e.Labels.String()}
	for {
		list, err := api.List(ctx, options)
		if err != nil {
			return err
		}
		page := make([]map[string]any, len(list.Items))
		for i := range list.Items {
			page[i] = list.Items[i].Object
		}
		s.seeAgain(t, page, e.PolicySets)
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

// seeAgain judges objects by some sets.
func (s *scan) seeAgain(t target, objects []map[string]any, sets []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range objects {
		s.see(t, o, sets)
	}
	s.tell()
}
