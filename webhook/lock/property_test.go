package lock_test

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/webhook/lock"
)

// users are everybody whose word may open something.
var users = []string{alice, reconciler, kcm, scheduler, "system:apiserver", "system:node:n1", controller("deployment-controller"),
	controller("replicaset-controller"), controller("generic-garbage-collector"), controller("namespace-controller"),
	controller("horizontal-pod-autoscaler"), controller("clusterrole-aggregation-controller"), controller("persistent-volume-binder")}

// A leaf is a place in an object and how to change it.
type leafAt struct {
	parent map[string]any
	list   []any
	field  string
	index  int
}

// leaves lists the scalars and lists of an object.
func leaves(v any, out *[]leafAt) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			switch v[k].(type) {
			case map[string]any, []any:
				leaves(v[k], out)
			default:
				*out = append(*out, leafAt{parent: v, field: k})
			}
		}
	case []any:
		for i := range v {
			switch v[i].(type) {
			case map[string]any, []any:
				leaves(v[i], out)
			default:
				*out = append(*out, leafAt{list: v, index: i})
			}
		}
	}
}

// change changes a leaf to something else: another value, or nothing.
func (l leafAt) change(rng *rand.Rand) {
	if l.parent == nil {
		l.list[l.index] = other(l.list[l.index])
		return
	}
	if rng.IntN(2) == 0 {
		delete(l.parent, l.field)
		return
	}
	l.parent[l.field] = other(l.parent[l.field])
}

func other(v any) any {
	switch v := v.(type) {
	case string:
		return v + "x"
	case int64:
		return v + 1
	case bool:
		return !v
	}
	return "x"
}

// identity are the fields that say which object it is: changing them asks about
// another.
func identity(l leafAt, obj map[string]any) bool {
	meta, _ := obj["metadata"].(map[string]any)
	at := func(m map[string]any) bool { return l.parent != nil && sameMap(l.parent, m) }
	return at(obj) && (l.field == "apiVersion" || l.field == "kind") || at(meta) && (l.field == "name" || l.field == "namespace")
}

func sameMap(a, b map[string]any) bool {
	const probe = "\x00probe"
	a[probe] = true
	_, same := b[probe]
	delete(a, probe)
	return same
}

// managedObjects are the objects of the recording's first release.
func managedObjects(t testing.TB, w *world) []lock.Object {
	t.Helper()
	for _, e := range recorded(t) {
		if e.Accept != nil {
			r := e.Accept.release(w.sealer)
			r.Applied = true
			if err := w.inv.Accept(r); err != nil {
				t.Fatal(err)
			}
			return r.Objects
		}
	}
	t.Fatal("no release was recorded")
	return nil
}

func review(op admissionv1.Operation, user, sub string, o lock.Object, old, live map[string]any) *admissionv1.AdmissionRequest {
	req := &admissionv1.AdmissionRequest{UID: "r", Operation: op, SubResource: sub, Namespace: o.Namespace, Name: o.Name}
	req.UserInfo.Username = user
	req.Kind.Group, req.Kind.Version, req.Kind.Kind = o.Kind.Group, o.Kind.Version, o.Kind.Kind
	req.Resource.Group, req.Resource.Version, req.Resource.Resource = o.Resource.Group, o.Resource.Version, o.Resource.Resource
	for _, p := range []struct {
		obj map[string]any
		to  *runtime.RawExtension
	}{{old, &req.OldObject}, {live, &req.Object}} {
		if p.obj != nil {
			p.to.Raw, _ = json.Marshal(p.obj)
		}
	}
	return req
}

// TestNoLeafLeaves changes every leaf of every kind of object that is not in the
// table of open leaves, as everybody: nobody is allowed to.
func TestNoLeafLeaves(t *testing.T) {
	w := newWorld(t)
	rng := rand.New(rand.NewPCG(1, 2))
	tried := 0
	for _, o := range managedObjects(t, w) {
		if o.Kind.Kind == "Secret" {
			continue // sealed here: see TestAttack_S5_Canary
		}
		open := o.Kind.NewMask(o.Manifest, desired.MaskOptions{Autoscaled: true})
		var all []leafAt
		leaves(runtime.DeepCopyJSON(o.Desired), &all)
		for i := range all {
			forged := runtime.DeepCopyJSON(o.Desired)
			var at []leafAt
			leaves(forged, &at)
			if identity(at[i], forged) {
				continue
			}
			at[i].change(rng)
			if len(open.Diff(o.Desired, o.Kind.Normalise(forged))) == 0 {
				continue
			}
			tried++
			for _, user := range users {
				for _, op := range []admissionv1.Operation{admissionv1.Update, admissionv1.Create} {
					old := o.Desired
					if op == admissionv1.Create {
						old = nil
					}
					if a := w.lock.Decide(context.Background(), review(op, user, "", o, old, forged)); a.Allowed {
						t.Errorf("%s %s: %s was allowed to %s with another %q", o.Kind.Kind, o.Name, user, op, at[i].field)
					}
				}
				if a := w.lock.Decide(context.Background(), review(admissionv1.Update, user, "", o, forged, o.Desired)); !a.Allowed && user == reconciler {
					t.Errorf("%s %s: the reconciler may not put %q right: %s", o.Kind.Kind, o.Name, at[i].field, a.Message)
				}
			}
		}
	}
	if tried < 200 {
		t.Errorf("only %d leaves", tried)
	}
	t.Logf("%d leaves", tried)
}

func jsonEqual(a, b map[string]any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

// FuzzUpdate feeds the lock objects that nobody would write. Whatever they are: an
// update that changes nothing passes; one that passes leads to D at every place
// that changed, unless the place is another's.
func FuzzUpdate(f *testing.F) {
	w := newWorld(f)
	o := w.object(webD)
	w.release(nil, o)
	raw, _ := json.Marshal(o.Manifest.Object)
	for _, pair := range [][2]string{{`"web:1"`, `"web:2"`}, {`"replicas":2`, `"replicas":3`}, {`"containers"`, `"hostPID":true,"containers"`}} {
		f.Add(raw, []byte(replace(string(raw), pair[0], pair[1])), uint8(0))
	}
	f.Add([]byte(`{"metadata":{"name":"web","namespace":"shop"}}`), raw, uint8(6))
	f.Add(raw, []byte(`{"metadata":null}`), uint8(3))
	f.Fuzz(func(t *testing.T, old, live []byte, who uint8) {
		user := users[int(who)%len(users)]
		req := review(admissionv1.Update, user, "", o, nil, nil)
		req.OldObject.Raw, req.Object.Raw = old, live
		a := w.lock.Decide(context.Background(), req)
		var was, is map[string]any
		if utiljson.Unmarshal(old, &was) != nil || utiljson.Unmarshal(live, &is) != nil || was == nil || is == nil {
			if a.Allowed && string(old) != string(live) {
				t.Fatalf("garbage was allowed: %q %q", old, live)
			}
			return
		}
		var all *desired.Mask
		was, is = o.Kind.Normalise(was), o.Kind.Normalise(is)
		changed := all.Diff(was, is)
		if len(changed) == 0 && !a.Allowed && a.Reason != "LimitExceeded" && a.Reason != "Internal" {
			t.Fatalf("an update that changes nothing was denied: %s", a.Message)
		}
		if !a.Allowed || len(changed) == 0 {
			return
		}
		open := o.Kind.NewMask(o.Manifest, desired.MaskOptions{})
		for _, c := range open.Diff(was, is) {
			if !toward(o.Desired, is, c.Path) {
				t.Fatalf("%s may change %s away from D: %s", user, c.Path, live)
			}
		}
	})
}

// toward reports whether is agrees with d at the end of a path. It walks on its own,
// by keys and positions, so that it errs elsewhere than what it checks.
func toward(d, is map[string]any, path desired.Path) bool {
	var dv, iv any = d, is
	for _, s := range path {
		if s.Field != "" {
			dm, _ := dv.(map[string]any)
			im, _ := iv.(map[string]any)
			dv, iv = dm[s.Field], im[s.Field]
			continue
		}
		dv, iv = item(dv, s), item(iv, s)
	}
	var all *desired.Mask
	box := func(v any) map[string]any { return map[string]any{"v": v} }
	if len(all.Diff(box(dv), box(iv))) == 0 {
		return true
	}
	// An object that was not there at all may come back in parts, each as in D.
	if im, ok := iv.(map[string]any); ok && partOf(im, dv) {
		return true
	}
	// A list that gained or lost items: every one that is there is as in D, and in
	// its order.
	dl, ok1 := dv.([]any)
	il, ok2 := iv.([]any)
	return ok1 && ok2 && subsequence(il, dl)
}

// partOf reports whether all that part holds stands in whole, and that it holds
// something.
func partOf(part map[string]any, whole any) bool {
	w, ok := whole.(map[string]any)
	if !ok || len(part) == 0 {
		return false
	}
	for k, v := range part {
		if m, ok := v.(map[string]any); ok && partOf(m, w[k]) {
			continue
		}
		if !jsonEqual(map[string]any{"v": v}, map[string]any{"v": w[k]}) {
			return false
		}
	}
	return true
}

func item(v any, s desired.Step) any {
	l, _ := v.([]any)
	for _, i := range l {
		m, _ := i.(map[string]any)
		if name, ok := m["name"].(string); ok && s.Key == "name="+name {
			return i
		}
	}
	if s.Key == "" && s.Index < len(l) {
		return l[s.Index]
	}
	return nil
}

func subsequence(part, whole []any) bool {
	for _, v := range whole {
		if len(part) > 0 && jsonEqual(map[string]any{"v": part[0]}, map[string]any{"v": v}) {
			part = part[1:]
		}
	}
	return len(part) == 0
}

func replace(s, old, new string) string {
	return string(slices.Concat([]byte(s[:index(s, old)]), []byte(new), []byte(s[index(s, old)+len(old):])))
}

func index(s, sub string) int {
	for i := 0; i+len(sub) <= len(s); i++ {
		if s[i:i+len(sub)] == sub {
			return i
		}
	}
	return 0
}

// FuzzDerive feeds Pods that nobody would make: what passes runs the containers of
// its template and nothing else.
func FuzzDerive(f *testing.F) {
	w := shop(f)
	pod := parse(f, newPod)
	raw, _ := json.Marshal(pod)
	f.Add(raw)
	f.Add([]byte(replace(string(raw), `"containers"`, `"hostPID":true,"containers"`)))
	f.Add([]byte(replace(string(raw), `"containers"`, `"tolerations":[{"key":"node.kubernetes.io/x","operator":"Exists"}],"containers"`)))
	made := w.request(try{user: controller("replicaset-controller"), op: admissionv1.Create, new: newPod, name: "-"})
	want := parse(f, liveSet)["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
	f.Fuzz(func(t *testing.T, raw []byte) {
		req := *made
		req.Object.Raw = raw
		if !w.lock.Decide(context.Background(), &req).Allowed {
			return
		}
		var is map[string]any
		if err := utiljson.Unmarshal(raw, &is); err != nil {
			t.Fatalf("garbage was allowed: %q", raw)
		}
		u := unstructured.Unstructured{Object: is}
		if len(u.GetOwnerReferences()) == 0 {
			t.Fatalf("a Pod without an owner was allowed: %q", raw)
		}
		spec, _ := is["spec"].(map[string]any)
		for _, field := range []string{"hostPID", "hostNetwork", "hostIPC", "initContainers", "ephemeralContainers", "nodeName", "securityContext"} {
			if v := spec[field]; v != nil && v != false && !emptyList(v) {
				t.Fatalf("%s was added: %s", field, raw)
			}
		}
		have, _ := spec["containers"].([]any)
		if len(have) != 1 || have[0].(map[string]any)["image"] != want["containers"].([]any)[0].(map[string]any)["image"] {
			t.Fatalf("other containers: %s", raw)
		}
	})
}

func emptyList(v any) bool {
	l, ok := v.([]any)
	return ok && len(l) == 0
}

// FuzzRequest feeds reviews of every shape: none makes the lock panic, and no dry
// run opens a subresource.
func FuzzRequest(f *testing.F) {
	w := shop(f)
	f.Add("CREATE", "", "pods", "token", []byte(`{}`), []byte(`null`), uint8(0), true)
	f.Add("DELETE", "apps", "deployments", "", []byte(``), []byte(`{"metadata":{"name":"web"}}`), uint8(3), false)
	f.Add("CONNECT", "", "pods", "exec", []byte(`{"kind":"PodExecOptions"}`), []byte(``), uint8(1), false)
	f.Add("UPDATE", "gitgate.dev", "gitsyncs", "status", []byte(`{"spec":1}`), []byte(`{"spec":2}`), uint8(1), false)
	f.Fuzz(func(t *testing.T, op, group, resource, sub string, live, old []byte, who uint8, dry bool) {
		for _, user := range []string{users[int(who)%len(users)], dryRunner} {
			req := &admissionv1.AdmissionRequest{Operation: admissionv1.Operation(op), SubResource: sub, Namespace: "shop", Name: "web", DryRun: &dry}
			req.UserInfo.Username, req.Resource.Group, req.Resource.Resource = user, group, resource
			req.Resource.Version, req.Kind.Version, req.Kind.Group, req.Kind.Kind = "v1", "v1", group, "Deployment"
			req.Object.Raw, req.OldObject.Raw = live, old
			a := w.lock.Decide(context.Background(), req)
			if a.Reason == "Internal" && a.Matched == "" && len(a.Findings) == 0 {
				t.Fatalf("a panic: %s", a.Message)
			}
			if user == dryRunner && a.Allowed && (sub != "" || !dry) {
				t.Fatal("the dry-run account got more than a dry run")
			}
			if dry && sub == "token" && resource == "serviceaccounts" && group == "" && a.Allowed {
				t.Fatal("a dry run gives a token that works")
			}
		}
	})
}
