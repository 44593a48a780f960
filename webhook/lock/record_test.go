package lock_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/webhook/lock"
)

// recordTo names a file that a live test writes all reviews to, as testdata has
// them. While it records nothing is denied; what would be fails the test.
var recordTo = os.Getenv("GITGATE_RECORD")

// recording is what controllers of Kubernetes 1.37.1 sent in TestLegitimateWriters.
const recording = "testdata/reviews.jsonl.gz"

// An event is one line of a recording: a review, or what happened to a release.
type event struct {
	Review  *admissionv1.AdmissionRequest `json:"review,omitempty"`
	Accept  *acceptance                   `json:"accept,omitempty"`
	Applied string                        `json:"applied,omitempty"`
}

// An acceptance is a release as it was accepted.
type acceptance struct {
	Revision string
	Objects  []recordedObject
}

type recordedObject struct {
	GVK       schema.GroupVersionKind
	HasStatus bool
	Resource  schema.GroupVersionResource
	Manifest  map[string]any
	Desired   map[string]any // nil for Secrets: made of the manifest
}

// A recorder writes events.
type recorder struct {
	file *os.File
	zip  *gzip.Writer
	out  *json.Encoder
}

func newRecorder(t *testing.T, path string) *recorder {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{file: f, zip: gzip.NewWriter(f)}
	r.out = json.NewEncoder(r.zip)
	t.Cleanup(func() {
		if err := r.zip.Close(); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *recorder) write(e event) error {
	if e.Review != nil {
		review := *e.Review
		review.UserInfo.Extra, review.UserInfo.Groups, review.UserInfo.UID = nil, nil, ""
		review.Options.Raw = nil
		review.Object.Raw, review.OldObject.Raw = sanitise(review.Object.Raw), sanitise(review.OldObject.Raw)
		e.Review = &review
	}
	return r.out.Encode(e)
}

// sanitise takes out what is nobody's business or only makes the file large.
func sanitise(raw []byte) []byte {
	var obj map[string]any
	if len(raw) == 0 || json.Unmarshal(raw, &obj) != nil || obj == nil {
		return raw
	}
	if meta, ok := obj["metadata"].(map[string]any); ok {
		delete(meta, "managedFields")
	}
	data, _ := obj["data"].(map[string]any)
	for _, k := range []string{"token", "ca.crt"} {
		if _, there := data[k]; !there {
			continue
		}
		data[k] = "eA=="
		if obj["kind"] == "ConfigMap" {
			data[k] = "-----BEGIN CERTIFICATE-----\n"
		}
	}
	out, err := json.Marshal(obj)
	if err != nil {
		return nil
	}
	return out
}

// accepted records a release. Its Secrets have no values.
func accepted(r lock.Release) event {
	a := &acceptance{Revision: r.Revision}
	for _, o := range r.Objects {
		ro := recordedObject{GVK: o.Kind.GroupVersionKind, HasStatus: o.Kind.HasStatus, Resource: o.Resource, Manifest: o.Manifest.Object, Desired: o.Desired}
		if o.Kind.Kind == "Secret" {
			ro.Desired = nil
		}
		a.Objects = append(a.Objects, ro)
	}
	return event{Accept: a}
}

// release makes the release of a recording again.
func (a *acceptance) release(s *desired.Sealer) lock.Release {
	r := lock.Release{Sync: types.NamespacedName{Namespace: "team", Name: "shop"}, Revision: a.Revision, Mode: lock.Enforce,
		Namespaces: []string{"shop"}, Writer: reconciler}
	for _, ro := range a.Objects {
		u := &unstructured.Unstructured{Object: ro.Manifest}
		o := lock.Object{Kind: desired.Kind{GroupVersionKind: ro.GVK, HasStatus: ro.HasStatus}, Resource: ro.Resource,
			Namespace: u.GetNamespace(), Name: u.GetName(), Manifest: u, Desired: ro.Desired}
		if ro.GVK.Kind == "Secret" {
			o.Desired = s.Seal(o.Kind.SecretDefault(u))
		}
		r.Objects = append(r.Objects, o)
	}
	return r
}

// recorded reads the recording.
func recorded(t testing.TB) []event {
	t.Helper()
	f, err := os.Open(recording)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var events []event
	lines := bufio.NewScanner(zip)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e event
		if err := unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	if lines.Err() != nil || len(events) == 0 {
		t.Fatalf("%d events, %v", len(events), lines.Err())
	}
	return events
}
