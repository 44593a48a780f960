package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// An edit is a change that somebody makes by hand. Without a patch the object is
// deleted.
type edit struct {
	what     string
	kind     schema.GroupVersionResource
	patch    string
	addition bool // of something that Git does not know
}

// edits are what people do to a cluster.
var edits = []edit{
	{"a value of a ConfigMap", configMaps, `{"data":{"value":"edited"}}`, false},
	{"the image of a Deployment", deployments, `{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"registry.k8s.io/pause:edited"}]}}}}`, false},
	{"a label added to a Service", services, `{"metadata":{"labels":{"edited":"by-hand"}}}`, true},
	{"the replicas of a Deployment", deployments, `{"spec":{"replicas":7}}`, false},
	{"a sidecar added to a Deployment", deployments, `{"spec":{"template":{"spec":{"containers":[{"name":"sidecar","image":"registry.k8s.io/pause:edited"}]}}}}`, true},
	{"a variable added to a Deployment", deployments, `{"spec":{"template":{"spec":{"containers":[{"name":"app","env":[{"name":"EDITED","value":"1"}]}]}}}}`, true},
	{"a ConfigMap deleted", configMaps, "", false},
	{"the selector of a Service", services, `{"spec":{"selector":{"app":"edited"}}}`, false},
	{"a key added to a ConfigMap", configMaps, `{"data":{"edited":"by-hand"}}`, true},
}

// fluxEdits is how many edits wait for Flux: its interval decides.
const fluxEdits = 3

// measureDrift makes manual edits and waits until they are undone.
func (b *bench) measureDrift(ctx context.Context) error {
	if err := b.shortIntervals(ctx); err != nil {
		return err
	}
	r := row{Name: fmt.Sprintf("Manual edit undone, interval %s", restInterval), Unit: "s"}
	var err error
	if b.gitgate != nil {
		if r.Gitgate, err = b.gitgateDrift(ctx); err != nil {
			return fmt.Errorf("gitgate: %w", err)
		}
	}
	if b.flux != nil {
		if r.Flux, err = b.fluxDrift(ctx); err != nil {
			return fmt.Errorf("measuring Flux: %w", err)
		}
	}
	b.report.add(r.medianAtMost(0.3))
	r.Name, r.Gitgate, r.Flux = r.Name+", the slowest", slowest(r.Gitgate), slowest(r.Flux)
	b.report.add(r.atMost(2))
	return nil
}

func slowest(s measure.Series) measure.Series {
	if len(s) == 0 {
		return nil
	}
	return measure.Series{slices.Max(s)}
}

// gitgateDrift makes edits one after the other.
func (b *bench) gitgateDrift(ctx context.Context) (measure.Series, error) {
	var all measure.Series
	s := b.plain[b.gitgate]
	for i := range b.opts.drifts {
		e := edits[i%len(edits)]
		took, err := b.drift(ctx, s, e, i%s.apps)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.what, err)
		}
		b.Say("drift: gitgate undid %s after %.3f s", e.what, took)
		all = append(all, took)
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// fluxDrift makes edits at different moments of Flux's interval. Additions are
// not among them: server-side apply leaves those in place.
func (b *bench) fluxDrift(ctx context.Context) (measure.Series, error) {
	took, errs := make(measure.Series, fluxEdits), make([]error, fluxEdits)
	var done sync.WaitGroup
	undoable := slices.DeleteFunc(slices.Clone(edits), func(e edit) bool { return e.addition })
	for i := range fluxEdits {
		done.Go(func() {
			if errs[i] = sleep(ctx, time.Duration(i)*restInterval/fluxEdits); errs[i] == nil {
				took[i], errs[i] = b.drift(ctx, b.plain[b.flux], undoable[i%len(undoable)], i)
				b.Say("drift: Flux undid %s after %.1f s", undoable[i%len(undoable)].what, took[i])
			}
		})
	}
	done.Wait()
	return took, errors.Join(errs...)
}

// drift makes one edit and returns how long it lasted: from the answer to the
// edit to the news that the object is as before.
func (b *bench) drift(ctx context.Context, s *site, e edit, app int) (float64, error) {
	objects := b.world.client.Resource(e.kind).Namespace(s.name)
	name := appName(app)
	before, err := objects.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	want, err := content(before)
	if err != nil {
		return 0, err
	}
	var edited *unstructured.Unstructured
	if e.patch == "" {
		err = objects.Delete(ctx, name, metav1.DeleteOptions{})
	} else {
		edited, err = objects.Patch(ctx, name, types.StrategicMergePatchType, []byte(e.patch), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	}
	start := time.Now()
	if err != nil {
		return 0, err
	}
	if edited != nil {
		if got, err := content(edited); err != nil || got == want {
			return 0, errors.Join(err, fmt.Errorf("the edit of %s changed nothing", name))
		}
	}
	err = await(ctx, objects, name, "the edit to be undone", func(u *unstructured.Unstructured) (bool, error) {
		if u == nil {
			return false, nil
		}
		got, err := content(u)
		return got == want, err
	})
	return time.Since(start).Seconds(), err
}

// content is what an edit may have changed.
func content(u *unstructured.Unstructured) (string, error) {
	text, err := json.Marshal([]any{u.GetLabels(), u.GetAnnotations(), u.Object["data"], u.Object["spec"]})
	return string(text), err
}
