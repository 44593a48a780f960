package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

// podReview is a review of about 10 kB, as a real API server sends it.
func podReview() []byte {
	var env strings.Builder
	for i := range 90 {
		fmt.Fprintf(&env, `{"name":"SETTING_%d","value":"some \"quoted\" value of a usual length \\ %d"},`, i, i)
	}
	object := `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-7d4b9","generateName":"web-","namespace":"shop","labels":{"app":"web"},` +
		`"managedFields":[{"manager":"kube-controller-manager","operation":"Update","fieldsV1":{"f:metadata":{"f:generateName":{}}}}]},` +
		`"spec":{"containers":[{"name":"web","image":"ghcr.io/acme/web@sha256:` + strings.Repeat("0", 64) + `","env":[` +
		strings.TrimSuffix(env.String(), ",") + `],"resources":{"limits":{"cpu":"500m","memory":"1Gi"}}}],"serviceAccountName":"web"},"status":{}}`
	return []byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002",` +
		`"kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},` +
		`"requestKind":{"group":"","version":"v1","kind":"Pod"},"requestResource":{"group":"","version":"v1","resource":"pods"},` +
		`"name":"web-7d4b9","namespace":"shop","operation":"CREATE",` +
		`"userInfo":{"username":"system:serviceaccount:kube-system:replicaset-controller","uid":"x","groups":["system:serviceaccounts","system:authenticated"],` +
		`"extra":{"authentication.kubernetes.io/credential-id":["JTI=1"]}},"object":` + object +
		`,"oldObject":null,"dryRun":false,"options":{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}}}`)
}

// reference decodes with encoding/json.
func reference(t *testing.T, body []byte) *admissionv1.AdmissionRequest {
	t.Helper()
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil {
		t.Fatalf("we decode what encoding/json does not: %v\n%q", err, body)
	}
	if review.Request == nil {
		t.Fatalf("we find a request where encoding/json does not: %q", body)
	}
	return review.Request
}

func TestDecodeReview(t *testing.T) {
	for name, body := range map[string][]byte{
		"Pod": podReview(),
		"Spaces": []byte(" {\n\t\"request\" : { \"uid\" : \"u\" , \"operation\" : \"DELETE\" , \"resource\" : { \"resource\" : \"pods\" } , " +
			"\"object\" : null , \"oldObject\" : { \"a\" : \"\\\\\\\"}\" , \"b\" : [ 1.5e-3 , true , null , [ ] , { } ] } } , " +
			"\"kind\" : \"AdmissionReview\" , \"apiVersion\" : \"admission.k8s.io/v1\" }\r\n"),
		"Subresource": []byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"x","allowed":true},"request":{"uid":"u","operation":"UPDATE",` +
			`"resource":{"group":"apps","version":"v1","resource":"deployments"},"subResource":"scale","requestSubResource":"scale","future":{"object":{}},"dryRun":true}}`),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decodeReview(body)
			if err != nil {
				t.Fatal(err)
			}
			if want := reference(t, body); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// FuzzDecodeReview: what we accept, encoding/json accepts and understands in the
// same way, as long as no name is spelled in another case; and it never panics.
func FuzzDecodeReview(f *testing.F) {
	f.Add(podReview())
	f.Add([]byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","operation":"CREATE","resource":{"resource":"r"},"object":{"a":"\\"}}}`))
	f.Add([]byte(`{"request":{"uid":"u","operation":"o","resource":{"resource":"r"},"object":[{"]":"}"}],"oldObject":1e9},"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decodeReview(body)
		if err != nil {
			return
		}
		if !json.Valid(body) {
			// The objects are delimited and not checked: they must be what is wrong.
			for _, raw := range [][]byte{got.Object.Raw, got.OldObject.Raw, got.Options.Raw} {
				if len(raw) > 0 && !json.Valid(raw) {
					return
				}
			}
			t.Skip() // something of no interest to us is wrong
		}
		if strings.Contains(strings.ToLower(string(body)), "object") && bytes.ContainsAny(body, "OUKSNRD\xe2\xc5") {
			t.Skip() // encoding/json ignores case
		}
		if want := reference(t, body); !reflect.DeepEqual(got, want) {
			t.Errorf("%q\ngot  %+v\nwant %+v", body, got, want)
		}
	})
}

func TestStatus(t *testing.T) {
	long := strings.Repeat("ä", maxText)
	for name, tc := range map[string]struct {
		answer lock.Answer
		code   int32
		reason string
	}{
		"Zero":    {lock.Answer{}, 403, "Internal"},
		"Denied":  {lock.Answer{Reason: verdict.NotInGit, Message: "no"}, 403, "NotInGit"},
		"Pending": {lock.Answer{Pending: true, Reason: verdict.ImagePending, Message: "wait"}, 503, "ImagePending"},
		"Long":    {lock.Answer{Reason: verdict.NotInGit, Message: long}, 403, "NotInGit"},
		"Binary":  {lock.Answer{Reason: verdict.NotInGit, Message: "\xff\xfe"}, 403, "NotInGit"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := encode("u", tc.answer)
			if err != nil {
				t.Fatal(err)
			}
			var review admissionv1.AdmissionReview
			if err := json.Unmarshal(out, &review); err != nil {
				t.Fatal(err)
			}
			r := review.Response
			if r.Allowed || r.UID != "u" || r.Result.Code != tc.code || string(r.Result.Reason) != tc.reason || r.Result.Message == "" || len(r.Result.Message) > maxText+8 {
				t.Errorf("response = %+v", r)
			}
			if tc.answer.Pending != (r.Result.Details != nil && r.Result.Details.RetryAfterSeconds > 0) {
				t.Errorf("details = %+v", r.Result.Details)
			}
		})
	}
	if r := status(lock.Answer{Allowed: true, Pending: true}); r != nil {
		t.Errorf("what is allowed has status %+v", r)
	}
}

func BenchmarkDecodeReview(b *testing.B) {
	body := podReview()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeReview(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := encode("705ab4f5-6393-11e8-b7cc-42010a800002", lock.Answer{Allowed: true}); err != nil {
			b.Fatal(err)
		}
	}
}
