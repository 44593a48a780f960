package lock_test

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"gitgate.dev/gitgate/policy/desired"
)

// mangle makes some random changes to an object: what the fuzzer would need long to
// come upon in text.
func mangle(rng *rand.Rand, v any) any {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			return map[string]any{"x": int64(1)}
		}
		keys := slices.Sorted(maps.Keys(v))
		k := keys[rng.IntN(len(keys))]
		switch rng.IntN(8) {
		case 0:
			delete(v, k)
		case 1:
			v["extra"] = v[k]
		case 2:
			v[k] = map[string]any{}
		case 3:
			v[k] = nil
		default:
			v[k] = mangle(rng, v[k])
		}
		return v
	case []any:
		if len(v) == 0 {
			return []any{"x"}
		}
		i, j := rng.IntN(len(v)), rng.IntN(len(v))
		switch rng.IntN(8) {
		case 0:
			return slices.Delete(slices.Clone(v), i, i+1)
		case 1:
			return append(slices.Clone(v), v[i])
		case 2:
			v[i], v[j] = v[j], v[i]
		case 3:
			return []any{}
		default:
			v[i] = mangle(rng, v[i])
		}
		return v
	}
	return other(v)
}

func some(rng *rand.Rand, obj map[string]any) map[string]any {
	out := runtime.DeepCopyJSON(obj)
	for range rng.IntN(4) {
		if m, ok := mangle(rng, out).(map[string]any); ok {
			out = runtime.DeepCopyJSON(m)
		}
	}
	return out
}

// TestRandomUpdates tries thousands of steps between random objects near what Git
// says. What passes led towards Git wherever it changed something; what changed
// nothing passed; and from everywhere the way back is open.
func TestRandomUpdates(t *testing.T) {
	w := newWorld(t)
	o := w.object(webD)
	w.release(nil, o)
	rng := rand.New(rand.NewPCG(3, 4))
	open := o.Kind.NewMask(o.Manifest, desired.MaskOptions{})
	var all *desired.Mask
	allowed, denied := 0, 0
	for range 4000 {
		old, live := some(rng, o.Desired), some(rng, o.Desired)
		user := users[rng.IntN(len(users))]
		a := w.lock.Decide(context.Background(), review(admissionv1.Update, user, "", o, old, live))
		was, is := o.Kind.Normalise(old), o.Kind.Normalise(live)
		changed := all.Diff(was, is)
		switch {
		case len(changed) == 0 && !a.Allowed:
			t.Fatalf("nothing changed, and yet: %s", a.Message)
		case !a.Allowed:
			denied++
		case len(changed) > 0:
			allowed++
			for _, c := range open.Diff(was, is) {
				if !toward(o.Desired, is, c.Path) {
					before, _ := json.Marshal(was)
					after, _ := json.Marshal(is)
					t.Fatalf("%s may change %s away from Git:\n%s\n%s", user, c.Path, before, after)
				}
			}
		}
		if a := w.lock.Decide(context.Background(), review(admissionv1.Update, reconciler, "", o, old, o.Desired)); !a.Allowed {
			t.Fatalf("the way back is closed: %s", a.Message)
		}
	}
	if allowed < 50 || denied < 1000 {
		t.Errorf("%d allowed, %d denied: the test says little", allowed, denied)
	}
	t.Logf("%d allowed, %d denied", allowed, denied)
}

// TestRandomPods does the same with children: a Pod that is not its template does not
// come to be.
func TestRandomPods(t *testing.T) {
	w := shop(t)
	rng := rand.New(rand.NewPCG(5, 6))
	pod := parse(t, newPod)
	req := w.request(try{user: controller("replicaset-controller"), op: admissionv1.Create, new: newPod, name: "-"})
	harmless := set("enableServiceLinks", "priority", "preemptionPolicy", "imagePullSecrets", "tolerations", "serviceAccountName", "serviceAccount")
	for range 3000 {
		forged := some(rng, pod)
		raw, err := json.Marshal(forged)
		if err != nil {
			t.Fatal(err)
		}
		try := *req
		try.Object.Raw = raw
		if !w.lock.Decide(context.Background(), &try).Allowed {
			continue
		}
		k := kindOf(pod)
		var all *desired.Mask
		for _, c := range all.Diff(k.Normalise(pod), k.Normalise(forged)) {
			if len(c.Path) >= 2 && c.Path[0].Field == "spec" && !harmless[c.Path[1].Field] {
				t.Fatalf("%s was changed: %s", c.Path, raw)
			}
		}
	}
}

func set(names ...string) map[string]bool {
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}
