package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// A driver is what differs between the programs that are compared.
type driver interface {
	// publish makes the site's present files a revision and returns its name.
	// Nobody is told.
	publish(ctx context.Context, s *site) (revision string, err error)
	// announce tells the program that there is a new revision.
	announce(ctx context.Context, s *site) error
	// begin makes the program keep a site applied.
	begin(ctx context.Context, s *site, interval time.Duration) error
	// setInterval changes what the program does at an interval beside applying.
	setInterval(ctx context.Context, s *site, interval time.Duration) error
	// end removes what begin created, except for what the program applies from.
	end(ctx context.Context, s *site) error
}

// A tool is one of the programs that are compared.
type tool struct {
	name      string
	user      string // as whom it speaks to the API server
	namespace string // where its objects are
	gvr       schema.GroupVersionResource
	procs     []*measure.Process
	driver    driver
	client    dynamic.Interface
}

// longInterval keeps periodic work out of what is being measured.
const longInterval = time.Hour

// patience bounds each single step.
const patience = 3 * time.Minute

func (t *tool) syncs() dynamic.ResourceInterface {
	return t.client.Resource(t.gvr).Namespace(t.namespace)
}

// publish makes the site's present files its revision.
func (t *tool) publish(ctx context.Context, s *site) (err error) {
	s.revision, err = t.driver.publish(ctx, s)
	return err
}

// begin makes the tool keep a published site applied.
func (t *tool) begin(ctx context.Context, s *site) error {
	return t.driver.begin(ctx, s, longInterval)
}

// awaitApplied waits until the tool reports the site's revision as applied, for
// the object as it is specified now.
func (t *tool) awaitApplied(ctx context.Context, s *site) error {
	what := fmt.Sprintf("%s to apply %s of %s", t.name, s.revision, s.name)
	return await(ctx, t.syncs(), s.name, what, func(u *unstructured.Unstructured) (bool, error) {
		if u == nil {
			return false, errors.New("it is gone")
		}
		if stalled, _ := condition(u, "Stalled"); stalled == "True" {
			return false, errors.New("it is stalled")
		}
		applied, _, _ := unstructured.NestedString(u.Object, "status", "lastAppliedRevision")
		ready, generation := condition(u, "Ready")
		return applied == s.revision && ready == "True" && generation == u.GetGeneration(), nil
	})
}

// setInterval changes how often the tool works on a site unasked.
func (t *tool) setInterval(ctx context.Context, s *site, interval time.Duration) error {
	if err := t.driver.setInterval(ctx, s, interval); err != nil {
		return err
	}
	patch := fmt.Sprintf(`{"spec":{"interval":%q}}`, interval)
	if _, err := t.syncs().Patch(ctx, s.name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		return err
	}
	return t.awaitApplied(ctx, s)
}

// end makes the tool let go of a site without pruning it.
func (t *tool) end(ctx context.Context, s *site) error {
	patch := []byte(`{"spec":{"prune":false}}`)
	if _, err := t.syncs().Patch(ctx, s.name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return err
	}
	if err := t.syncs().Delete(ctx, s.name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	err := await(ctx, t.syncs(), s.name, t.name+" to let go of "+s.name, func(u *unstructured.Unstructured) (bool, error) {
		return u == nil, nil
	})
	if err != nil {
		return err
	}
	return t.driver.end(ctx, s)
}

// stop ends the programs.
func (t *tool) stop() {
	for _, p := range t.procs {
		p.Stop()
	}
}

// cpu is the processor time that the tool has used so far, in seconds.
func (t *tool) cpu() (float64, error) {
	var sum time.Duration
	for _, p := range t.procs {
		d, err := p.CPU()
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum.Seconds(), nil
}

// condition returns the status of a condition and the generation it is about.
func condition(u *unstructured.Unstructured, kind string) (status string, generation int64) {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		c, _ := c.(map[string]any)
		if c["type"] == kind {
			status, _ = c["status"].(string)
			generation, _ = c["observedGeneration"].(int64)
			return status, generation
		}
	}
	return "", 0
}

// await calls ok with every state of an object, or nil while it does not exist,
// until it returns true or an error.
func await(ctx context.Context, objects dynamic.ResourceInterface, name, what string, ok func(*unstructured.Unstructured) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %s", patience))
	defer cancel()
	var last *unstructured.Unstructured
	fail := func(err error) error { return fmt.Errorf("waiting for %s: %w%s", what, err, describe(last)) }
	for {
		list, err := objects.List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()})
		if err != nil {
			return fail(cause(ctx, err))
		}
		last = nil
		if len(list.Items) > 0 {
			last = &list.Items[0]
		}
		if done, err := ok(last); done || err != nil {
			if err != nil {
				return fail(err)
			}
			return nil
		}
		w, err := objects.Watch(ctx, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String(), ResourceVersion: list.GetResourceVersion(),
		})
		if err != nil {
			return fail(cause(ctx, err))
		}
		done, err := follow(ctx, w, &last, ok)
		w.Stop()
		if err != nil {
			return fail(err)
		}
		if done {
			return nil
		}
	}
}

// follow reads a watch until ok is true. It returns false when the watch ends.
func follow(ctx context.Context, w watch.Interface, last **unstructured.Unstructured, ok func(*unstructured.Unstructured) (bool, error)) (bool, error) {
	for {
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case e, open := <-w.ResultChan():
			if !open || e.Type == watch.Error {
				return false, nil
			}
			u, isObject := e.Object.(*unstructured.Unstructured)
			if !isObject {
				continue
			}
			*last = u
			if e.Type == watch.Deleted {
				*last = nil
			}
			if done, err := ok(*last); done || err != nil {
				return done, err
			}
		}
	}
}

// cause prefers why ctx ended over what it did to a request.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// describe prints the conditions of an object that did not come to be as wanted.
func describe(u *unstructured.Unstructured) string {
	if u == nil {
		return ""
	}
	status, _, _ := unstructured.NestedMap(u.Object, "status")
	delete(status, "inventory")
	text, err := json.MarshalIndent(status, "", "  ")
	if err != nil {
		return ""
	}
	return "\nits status is " + string(text)
}

// toUnstructured turns a typed object into one for the dynamic client.
func toUnstructured(object any, gvk schema.GroupVersionKind) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, err
	}
	delete(content, "status")
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(gvk)
	return u, nil
}

// put creates an object or replaces its spec.
func put(ctx context.Context, objects dynamic.ResourceInterface, u *unstructured.Unstructured) error {
	_, err := objects.Create(ctx, u, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	patch, err := json.Marshal(map[string]any{"spec": u.Object["spec"]})
	if err != nil {
		return err
	}
	_, err = objects.Patch(ctx, u.GetName(), types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}
