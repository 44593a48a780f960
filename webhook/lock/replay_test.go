package lock_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"gitgate.dev/gitgate/policy/verdict"
)

// unmarshal reads JSON with the integers of manifests as integers.
func unmarshal(raw []byte, e *event) error {
	if err := json.Unmarshal(raw, e); err != nil || e.Accept == nil {
		return err
	}
	var exact struct {
		Accept struct {
			Objects []struct{ Manifest, Desired json.RawMessage }
		} `json:"accept"`
	}
	if err := json.Unmarshal(raw, &exact); err != nil {
		return err
	}
	for i, o := range exact.Accept.Objects {
		for _, part := range []struct {
			raw []byte
			to  *map[string]any
		}{{o.Manifest, &e.Accept.Objects[i].Manifest}, {o.Desired, &e.Accept.Objects[i].Desired}} {
			*part.to = nil
			if err := utiljson.Unmarshal(part.raw, part.to); err != nil {
				return err
			}
		}
	}
	return nil
}

// replay feeds a recording to the world, which sees what was admitted as informers
// do. It calls visit with every review before it is decided.
func (w *world) replay(events []event, visit func(i int, req *admissionv1.AdmissionRequest)) {
	w.t.Helper()
	for i, e := range events {
		switch {
		case e.Accept != nil:
			if err := w.inv.Accept(e.Accept.release(w.sealer)); err != nil {
				w.t.Fatal(err)
			}
		case e.Applied != "":
			w.inv.Applied(types.NamespacedName{Namespace: "team", Name: "shop"}, e.Applied)
		default:
			visit(i, e.Review)
			w.see(e.Review)
		}
	}
}

// see does what informers do: it knows what is there.
func (w *world) see(req *admissionv1.AdmissionRequest) {
	if req.SubResource != "" && req.SubResource != "status" || req.DryRun != nil && *req.DryRun {
		return
	}
	raw := req.Object.Raw
	if req.Operation == admissionv1.Delete {
		raw = req.OldObject.Raw
	}
	var obj map[string]any
	if err := utiljson.Unmarshal(raw, &obj); err != nil {
		w.t.Fatal(err)
	}
	u := unstructured.Unstructured{Object: obj}
	if u.GetUID() == "" {
		return
	}
	if req.Operation != admissionv1.Delete { // what is deleted may still be waiting for its finalizers
		w.live[u.GetUID()] = obj
	}
}

// TestReplay judges what the controllers of a real cluster have sent: nothing of it
// is denied, though the namespace is closed.
func TestReplay(t *testing.T) {
	w := newWorld(t)
	n := 0
	w.replay(recorded(t), func(i int, req *admissionv1.AdmissionRequest) {
		n++
		if a := w.lock.Decide(context.Background(), req); !a.Allowed {
			t.Errorf("event %d: %s %s %s %s/%s by %s: %s", i, req.Operation, req.Resource.Resource, req.SubResource, req.Namespace, req.Name, req.UserInfo.Username, a.Message)
		}
	})
	if n < 500 {
		t.Errorf("only %d reviews", n)
	}
}

// tampers are what an attacker changes in a write that a controller made.
var tampers = map[string]struct {
	reason string
	only   func(*admissionv1.AdmissionRequest) bool
	apply  func(req *admissionv1.AdmissionRequest, obj map[string]any)
}{
	"K14/Alice": {"The same child, made by somebody else.", creates, func(req *admissionv1.AdmissionRequest, _ map[string]any) { req.UserInfo.Username = alice }},
	"K14/Image": {"Another image in a derived Pod.", pods, func(_ *admissionv1.AdmissionRequest, obj map[string]any) {
		container(obj)["image"] = "evil.example.com/x:1"
	}},
	"K2/Sidecar": {"A container more.", pods, func(_ *admissionv1.AdmissionRequest, obj map[string]any) {
		spec := obj["spec"].(map[string]any)
		spec["containers"] = append(spec["containers"].([]any), map[string]any{"name": "x", "image": container(obj)["image"]})
	}},
	"K2/HostPID": {"Access to the node.", pods, func(_ *admissionv1.AdmissionRequest, obj map[string]any) {
		obj["spec"].(map[string]any)["hostPID"] = true
	}},
	"K2/Privileged": {"A security context.", pods, func(_ *admissionv1.AdmissionRequest, obj map[string]any) {
		container(obj)["securityContext"] = map[string]any{"privileged": true}
	}},
	"K2/Command": {"Another command.", pods, func(_ *admissionv1.AdmissionRequest, obj map[string]any) { container(obj)["command"] = []any{"sh"} }},
	"K2/Env": {"A variable.", pods, func(_ *admissionv1.AdmissionRequest, obj map[string]any) {
		container(obj)["env"] = []any{map[string]any{"name": "LD_PRELOAD", "value": "x"}}
	}},
	"K2/Volume": {"A volume of the node.", pods, func(_ *admissionv1.AdmissionRequest, obj map[string]any) {
		spec := obj["spec"].(map[string]any)
		spec["volumes"] = append(spec["volumes"].([]any), map[string]any{"name": "x", "hostPath": map[string]any{"path": "/"}})
	}},
	"K2/TokenVolume": {"A token for another audience in the shape of the token volume.", pods, func(_ *admissionv1.AdmissionRequest, obj map[string]any) {
		for _, v := range obj["spec"].(map[string]any)["volumes"].([]any) {
			if p, ok := v.(map[string]any)["projected"].(map[string]any); ok {
				p["sources"].([]any)[0].(map[string]any)["serviceAccountToken"].(map[string]any)["audience"] = "vault"
			}
		}
	}},
	"K2/TokenMode": {"A token that everybody in the Pod reads.", pods, func(_ *admissionv1.AdmissionRequest, obj map[string]any) {
		for _, v := range obj["spec"].(map[string]any)["volumes"].([]any) {
			if p, ok := v.(map[string]any)["projected"].(map[string]any); ok {
				p["defaultMode"] = 511
			}
		}
	}},
	"K18/Account": {"Another service account.", pods, func(_ *admissionv1.AdmissionRequest, obj map[string]any) {
		obj["spec"].(map[string]any)["serviceAccountName"] = "admin"
	}},
	"K14/NodeName": {"Past the scheduler.", pods, func(_ *admissionv1.AdmissionRequest, obj map[string]any) {
		obj["spec"].(map[string]any)["nodeName"] = "node-0"
	}},
	"K14/Toleration": {"Onto nodes that it is not meant for.", pods, func(_ *admissionv1.AdmissionRequest, obj map[string]any) {
		spec := obj["spec"].(map[string]any)
		spec["tolerations"] = append(spec["tolerations"].([]any), map[string]any{"operator": "Exists"})
	}},
	"K14/Label": {"A label that a Service may select.", pods, func(_ *admissionv1.AdmissionRequest, obj map[string]any) {
		obj["metadata"].(map[string]any)["labels"].(map[string]any)["app"] = "other"
	}},
	"K14/Name": {"A name that is not its owner's.", pods, func(req *admissionv1.AdmissionRequest, obj map[string]any) {
		obj["metadata"].(map[string]any)["name"] = "zzz"
		req.Name = "zzz"
	}},
	"K14/Template": {"Another template in a ReplicaSet, Job or revision.", templates, func(_ *admissionv1.AdmissionRequest, obj map[string]any) {
		templateOf(obj)["containers"].([]any)[0].(map[string]any)["image"] = "evil"
	}},
}

func creates(req *admissionv1.AdmissionRequest) bool {
	return req.Operation == admissionv1.Create && req.SubResource == "" && req.Namespace == "shop" && strings.HasPrefix(req.UserInfo.Username, controller(""))
}

func pods(req *admissionv1.AdmissionRequest) bool {
	return creates(req) && req.Resource.Resource == "pods"
}

func templates(req *admissionv1.AdmissionRequest) bool {
	return creates(req) && (req.Resource.Resource == "replicasets" || req.Resource.Resource == "jobs" || req.Resource.Resource == "controllerrevisions")
}

func container(obj map[string]any) map[string]any {
	return obj["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
}

func templateOf(obj map[string]any) map[string]any {
	if data, ok := obj["data"].(map[string]any); ok {
		obj = data
	}
	return obj["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
}

// TestAttack_K14_Tampered takes the writes of real controllers and changes one thing
// in each.
func TestAttack_K14_Tampered(t *testing.T) {
	w := newWorld(t)
	tried := map[string]int{}
	w.replay(recorded(t), func(_ int, req *admissionv1.AdmissionRequest) {
		for name, tamper := range tampers {
			if !tamper.only(req) || w.inv.Size() == 0 { // before the first release nothing is locked
				continue
			}
			tried[name]++
			var obj map[string]any
			if err := utiljson.Unmarshal(req.Object.Raw, &obj); err != nil {
				t.Fatal(err)
			}
			forged := *req
			tamper.apply(&forged, obj)
			raw, err := json.Marshal(obj)
			if err != nil {
				t.Fatal(err)
			}
			forged.Object.Raw = raw
			a := w.lock.Decide(context.Background(), &forged)
			if a.Allowed || a.Reason == verdict.Internal {
				t.Errorf("%s: %s\n%s %s/%s by %s: allowed %t, %s", name, tamper.reason, req.Resource.Resource, req.Namespace, req.Name, forged.UserInfo.Username, a.Allowed, a.Message)
			}
		}
	})
	for name := range tampers {
		if tried[name] == 0 {
			t.Errorf("%s: never tried", name)
		}
	}
}
