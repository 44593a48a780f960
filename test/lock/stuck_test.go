package lock

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/registry"
)

const stuckFile = "deploy/stuck.yaml"

// stuck is a Deployment whose Pods are ready or never will be.
func stuck(image string, ready bool) string {
	return strings.NewReplacer("IMAGE", image, "RELEASE", image[len(image)-8:], "READY", fmt.Sprint(ready)).Replace(template(`apiVersion: apps/v1
kind: Deployment
metadata: {name: stuck}
spec:
  replicas: 2
  selector: {matchLabels: {app: stuck}}
  template:
    metadata: {labels: {app: stuck}, annotations: {`+cluster.ReadyAnnotation+`: "READY"}}
    spec:
`, 6, ""))
}

// TestStuckRollout replaces Pods of the old ReplicaSet of a rollout that does not get
// on, whose images are in no release any more: by replicas that verified them when they
// were, and by replicas that were started since.
func TestStuckRollout(t *testing.T) {
	in := begin(t)
	from := in.marks(t)
	in.enforcing(t)
	var images [2]string
	for i := range images {
		image, err := in.SignedImage(fmt.Sprintf("acme/stuck:%d", i))
		must(t, "pushing an image", err)
		images[i] = image.Pinned()
	}
	must(t, "the first release", in.release(t.Context(), map[string]string{stuckFile: stuck(images[0], true)}))
	in.runs(t, images[0], 2, "")
	must(t, "the release that gets stuck", in.release(t.Context(), map[string]string{stuckFile: stuck(images[1], false)}))
	in.runs(t, images[1], 1, "")
	in.delivers(t)

	t.Run("AsItIs", func(t *testing.T) { in.reborn(t, images[0]) })
	t.Run("Restarted", func(t *testing.T) { // and nobody there to ask for signatures
		in.Registry.Inject(registry.Fault{Status: http.StatusServiceUnavailable})
		t.Cleanup(in.Registry.Reset)
		in.again(t, false)
		in.reborn(t, images[0])
	})
	t.Run("LostDisk", func(t *testing.T) {
		in.again(t, true)
		in.reborn(t, images[0])
	})

	hash, err := in.app.Commit(gitrepo.Change{Delete: []string{stuckFile}})
	must(t, "committing", err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = in.app.Accepted(ctx, hash)
	must(t, "removing it", err)
	in.asGitSays(t, in.images[0])
	in.calm(t, from)
}

// again starts both replicas anew, on request without anything that they kept.
func (in *installation) again(t *testing.T, empty bool) {
	t.Helper()
	for _, w := range in.replicas {
		w.Kill()
		if empty {
			must(t, "emptying the disk", os.RemoveAll(filepath.Join(in.Dir, "webhook-"+w.Replica)))
		}
	}
	in.restart(t, "one", "two")
	in.enforcing(t)
}

// runs waits until so many Pods run an image, none of which has the name.
func (in *installation) runs(t *testing.T, image string, want int, not string) (names []string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d Pods of %s", want, image), func(ctx context.Context) error {
		pods, err := in.alice.CoreV1().Pods(closed).List(ctx, metav1.ListOptions{LabelSelector: "app=stuck"})
		if err != nil {
			return err
		}
		names = nil
		for _, p := range pods.Items {
			if p.Spec.Containers[0].Image == image && p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning && p.Name != not {
				names = append(names, p.Name)
			}
		}
		if len(names) != want {
			return fmt.Errorf("%d run: %v", len(names), names)
		}
		return nil
	})
	return names
}

// reborn deletes a Pod of an image and waits for another one of it.
func (in *installation) reborn(t *testing.T, image string) {
	t.Helper()
	name := in.runs(t, image, 2, "")[0]
	eventually(t, "the deletion of a Pod", func(ctx context.Context) error {
		err := in.alice.CoreV1().Pods(closed).Delete(ctx, name, metav1.DeleteOptions{})
		if err == nil {
			return errors.New("it was there")
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
	in.runs(t, image, 2, name)
}
