package lock_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// noticed is within what a stray must be told of.
const noticed = 10 * time.Second

// TestAttack_K25_Insert writes objects into etcd that Git never had, in a closed
// namespace: nothing that drifts, so nothing to put back. Each must be told of, and
// what is there by right must not be.
func TestAttack_K25_Insert(t *testing.T) {
	in := begin(t)
	in.strays(t, patience) // what controllers made of the releases so far is explained
	set := in.podOf(t, locked).OwnerReferences[0].Name
	for name, tc := range map[string]struct {
		reason   string
		from, to string // etcd keys
		edit     func(map[string]any)
		object   string
	}{
		"ConfigMap": {"A plain object that nobody declares.",
			"configmaps/harbor/settings", "configmaps/harbor/planted", nil, "harbor/ConfigMap/planted"},
		"Labelled": {"Labels that say it is gitgate's prove nothing.",
			"configmaps/harbor/marker", "configmaps/harbor/marker-2", nil, "harbor/ConfigMap/marker-2"},
		"RoleBinding": {"What an attacker needs most.",
			"rolebindings/harbor/reader", "rolebindings/harbor/root", nil, "harbor/RoleBinding.rbac.authorization.k8s.io/root"},
		"Secret": {"Its values do not matter to what it is.",
			"secrets/harbor/login", "secrets/harbor/other", nil, "harbor/Secret/other"},
		"Custom": {"A kind that a CustomResourceDefinition brought.",
			"harbor.example.com/ships/harbor/mary", "harbor.example.com/ships/harbor/celeste", nil, "harbor/Ship.harbor.example.com/celeste"},
		"Sidecar": {"A Pod that claims a ReplicaSet of Git's and runs more than it.",
			"", "pods/harbor/" + set + "-evil1", all(stays, podSidecar), "harbor/Pod/" + set + "-evil1"},
		"HostPID": {"The same, by one field.",
			"", "pods/harbor/" + set + "-evil2", all(stays, put(true, "spec", "hostPID")), "harbor/Pod/" + set + "-evil2"},
		"Orphan": {"A Pod that is nobody's.",
			"", "pods/harbor/lonely", all(put([]any{}, "metadata", "ownerReferences"), put(map[string]any{}, "metadata", "labels")), "harbor/Pod/lonely"},
		"Revision": {"A ReplicaSet that its Deployment never made.",
			"replicasets/harbor/" + set, "replicasets/harbor/web-0000000000", all(put(0, "spec", "replicas"), put("evil.example.com/miner", "spec", "template", "spec", "containers", "0", "image")),
			"harbor/ReplicaSet.apps/web-0000000000"},
		"Namesake": {"Another object that says it is one that Git has, stored under a name of its own.",
			"configmaps/harbor/settings", "configmaps/harbor/namesake", put("settings", "metadata", "name"), "harbor/ConfigMap/settings"},
		"Elsewhere": {"An object that is stored elsewhere and says that it is here.",
			"configmaps/harbor/settings", "configmaps/meadow/hidden", nil, "harbor/ConfigMap/hidden"},
	} {
		t.Run(name, func(t *testing.T) {
			marks := in.marks(t)
			key := "/registry/" + tc.to
			if tc.from == "" {
				tc.from = "pods/harbor/" + in.podOf(t, locked).Name
			}
			in.plant(t, "/registry/"+tc.from, key, tc.edit)
			in.strays(t, noticed, tc.object)
			in.recorded(t, marks, "FOUND", tc.object)
			in.evented(t, "StrayFound", tc.object)
			if err := in.Cluster.EtcdDelete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			in.strays(t, patience)
			in.recorded(t, marks, "GONE", tc.object)
			if t.Failed() {
				t.Log(tc.reason)
			}
		})
	}
	t.Run("NewKind", func(t *testing.T) { in.newKind(t) })
	t.Run("OpenNamespace", func(t *testing.T) { // the negative control
		in.plant(t, "/registry/configmaps/meadow/settings", "/registry/configmaps/meadow/planted", nil)
		in.plant(t, "/registry/configmaps/harbor/settings", "/registry/configmaps/harbor/planted", nil)
		in.strays(t, patience, "harbor/ConfigMap/planted")
		for _, key := range []string{"/registry/configmaps/meadow/planted", "/registry/configmaps/harbor/planted"} {
			if err := in.Cluster.EtcdDelete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		in.strays(t, patience)
		var meadow v1alpha1.GitSync
		if err := in.Client.Get(t.Context(), in.meadow.Key, &meadow); err != nil || meadow.Status.Lock != nil {
			t.Errorf("the status of a GitSync that closes nothing tells %+v (%v)", meadow.Status.Lock, err)
		}
	})
}

// TestAttack_K25_Whole changes what etcd holds of what Git declares, in every part of
// it: all of it must be put back.
func TestAttack_K25_Whole(t *testing.T) {
	in := begin(t)
	const (
		settings   = "/registry/configmaps/harbor/settings"
		web        = "/registry/deployments/harbor/web"
		reader     = "/registry/rolebindings/harbor/reader"
		containers = "spec.template.spec.containers.0."
	)
	owner := []any{map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "name": "drops", "uid": in.uidOf(t, "/registry/configmaps/harbor/drops")}}
	for name, tc := range map[string]struct {
		key, path string
		value     any
	}{
		"Label":      {settings, "metadata.labels.evil", "1"},
		"OurLabel":   {settings, "metadata.labels.gitgate!dev/name", "meadow"},
		"Annotation": {settings, "metadata.annotations", map[string]any{"evil.example.com/x": "1"}},
		"Finalizer":  {settings, "metadata.finalizers", []any{"evil.example.com/stays"}},
		"Owner":      {settings, "metadata.ownerReferences", owner},
		"Binary":     {settings, "binaryData", map[string]any{"x": "eA=="}},
		"Data":       {settings, "data.mode", "evil"},
		"Image":      {web, containers + "image", "evil.example.com/miner"},
		"Command":    {web, containers + "command", []any{"/bin/sh"}},
		"Privileged": {web, containers + "securityContext.privileged", true},
		"HostPID":    {web, "spec.template.spec.hostPID", true},
		"Replicas":   {web, "spec.replicas", 5},
		"Paused":     {web, "spec.paused", true},
		"Subject":    {reader, "subjects.0.name", "mallory"},
	} {
		t.Run(name, func(t *testing.T) {
			before := in.stored(t, tc.key)
			after := in.stored(t, tc.key)
			steps := strings.Split(tc.path, ".")
			for i := range steps {
				steps[i] = strings.ReplaceAll(steps[i], "!", ".")
			}
			put(tc.value, steps...)(after)
			raw, err := json.Marshal(after)
			if err != nil {
				t.Fatal(err)
			}
			if err := in.Cluster.EtcdPut(t.Context(), tc.key, raw); err != nil {
				t.Fatal(err)
			}
			var last map[string]any
			defer func() {
				if t.Failed() {
					t.Logf("(-before +now):\n%s", cmp.Diff(lasting(before), lasting(last)))
				}
			}()
			in.restored(t, func(context.Context) (bool, error) {
				last = in.stored(t, tc.key)
				return cmp.Equal(lasting(before), lasting(last)), nil
			})
		})
	}
}

// stored is what etcd has under a key.
func (in *installation) stored(t *testing.T, key string) map[string]any {
	t.Helper()
	raw, err := in.Cluster.EtcdGet(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatalf("etcd holds no JSON: %.80q", raw)
	}
	return object
}

func (in *installation) uidOf(t *testing.T, key string) string {
	t.Helper()
	return in.stored(t, key)["metadata"].(map[string]any)["uid"].(string)
}

// lasting is an object without what every write changes.
func lasting(object map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range object {
		switch k {
		case "status":
		case "metadata":
			meta := map[string]any{}
			for k, v := range v.(map[string]any) {
				switch k {
				case "managedFields", "generation", "resourceVersion":
				case "annotations": // the controller counts its rollouts
					v = maps.Clone(v.(map[string]any))
					delete(v.(map[string]any), "deployment.kubernetes.io/revision")
					meta[k] = v
				default:
					meta[k] = v
				}
			}
			out[k] = meta
		default:
			out[k] = v
		}
	}
	return out
}

// newKind plants an object of a kind that did not exist when the audit began.
func (in *installation) newKind(t *testing.T) {
	const definitions, name = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "boats.harbor.example.org"
	crd := `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: boats.harbor.example.org},
 spec: {group: harbor.example.org, scope: Namespaced, names: {kind: Boat, plural: boats, singular: boat, listKind: BoatList},
 versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}`
	if got := in.ask(t, in.alice, posted(crd, 0)(definitions), false); got.code != http.StatusCreated {
		t.Fatalf("%d %s", got.code, got.status.Message)
	}
	const key = "/registry/harbor.example.org/boats/harbor/ghost"
	value := `{"apiVersion":"harbor.example.org/v1","kind":"Boat","metadata":{"name":"ghost","namespace":"harbor","uid":"00000000-0000-4000-8000-00000000b0a7","creationTimestamp":"2026-01-01T00:00:00Z"}}`
	if err := in.Cluster.EtcdPut(t.Context(), key, []byte(value)); err != nil {
		t.Fatal(err)
	}
	in.strays(t, patience, "harbor/Boat.harbor.example.org/ghost")
	if got := in.ask(t, in.alice, deletion("", "")(definitions+"/"+name), false); got.code != http.StatusOK {
		t.Fatalf("%d %s", got.code, got.status.Message)
	}
	in.strays(t, patience) // with its kind
}

// plant copies what etcd has under a key to another, as another object.
func (in *installation) plant(t *testing.T, from, to string, edit func(map[string]any)) {
	t.Helper()
	stored, err := in.Cluster.EtcdGet(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(stored, &object); err != nil {
		t.Fatalf("etcd holds no JSON to copy: %.80q", stored)
	}
	meta := object["metadata"].(map[string]any)
	meta["name"] = to[strings.LastIndexByte(to, '/')+1:]
	in.planted++
	meta["uid"] = fmt.Sprintf("00000000-0000-4000-8000-%012d", in.planted)
	if edit != nil {
		edit(object)
	}
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Cluster.EtcdPut(t.Context(), to, raw); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Cluster.EtcdDelete(context.WithoutCancel(t.Context()), to); err != nil {
			t.Error(err)
		}
	})
}

// put sets a value; a number in the path is the index of a list.
func put(value any, path ...string) func(map[string]any) {
	return func(object map[string]any) {
		var at any = object
		for i, step := range path {
			switch v := at.(type) {
			case map[string]any:
				if i == len(path)-1 {
					v[step] = value
					return
				}
				at = v[step]
			case []any:
				at = v[step[0]-'0']
			}
		}
		panic("no such path: " + strings.Join(path, "."))
	}
}

// stays has controllers not remove the object.
func stays(object map[string]any) {
	object["metadata"].(map[string]any)["finalizers"] = []any{"evil.example.com/stays"}
}

// podSidecar adds a container to a Pod.
func podSidecar(object map[string]any) {
	spec := object["spec"].(map[string]any)
	spec["containers"] = append(spec["containers"].([]any), map[string]any{"name": "miner", "image": "evil.example.com/miner"})
}

// strays waits until the status of harbor's GitSync tells of exactly these, and so
// does the metric.
func (in *installation) strays(t *testing.T, within time.Duration, want ...string) {
	t.Helper()
	var last []string
	eventually(t, within, fmt.Sprintf("the strays are %v", want), func(ctx context.Context) (bool, error) {
		var sync v1alpha1.GitSync
		if err := in.Client.Get(ctx, in.harbor.Key, &sync); err != nil || sync.Status.Lock == nil || sync.Status.Lock.Strays == nil {
			return false, err
		}
		told := sync.Status.Lock.Strays
		now := []string{}
		for _, o := range told.Objects {
			now = append(now, o.Object)
		}
		if diff := cmp.Diff(last, now); diff != "" {
			t.Logf("strays: %+v, unseen: %v", told.Objects, told.Unseen)
		}
		last = now
		return int(told.Total) == len(want) && slices.Equal(now, append([]string{}, want...)) && len(told.Unseen) == 0, nil
	})
	gauge := fmt.Sprintf(`gitgate_strays{name="harbor",namespace=%q} %d`, in.harbor.Key.Namespace, len(want))
	eventually(t, patience, gauge, func(ctx context.Context) (bool, error) {
		for _, w := range in.replicas {
			text, err := w.Scrape(ctx)
			if err != nil {
				return false, err
			}
			if strings.Contains(text, gauge) {
				return true, nil
			}
		}
		return false, nil
	})
}

// recorded waits for a record of the audit in a decision log, later than the marks.
func (in *installation) recorded(t *testing.T, marks []int64, operation, object string) {
	t.Helper()
	eventually(t, patience, "a record "+operation+" of "+object, func(context.Context) (bool, error) {
		for i, w := range in.replicas {
			text, err := os.ReadFile(w.Decisions)
			if err != nil {
				continue // nothing was logged yet
			}
			for line := range bytes.Lines(text[min(marks[i], int64(len(text))):]) {
				var d struct {
					Door, Operation, GitSync string
					Findings                 []struct{ Object string }
				}
				if json.Unmarshal(line, &d) == nil && d.Door == "audit" && d.Operation == operation && d.GitSync == in.harbor.Key.String() &&
					len(d.Findings) == 1 && d.Findings[0].Object == object {
					return true, nil
				}
			}
		}
		return false, nil
	})
}

// evented waits for an event on harbor's GitSync.
func (in *installation) evented(t *testing.T, reason, object string) {
	t.Helper()
	eventually(t, patience, "an event of "+object, func(ctx context.Context) (bool, error) {
		var all corev1.EventList
		err := in.Client.List(ctx, &all, client.InNamespace(in.harbor.Key.Namespace))
		return slices.ContainsFunc(all.Items, func(e corev1.Event) bool {
			return e.Reason == reason && e.InvolvedObject.Name == in.harbor.Key.Name && strings.HasPrefix(e.Message, object+": ")
		}), err
	})
}
