package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The floors, as serve knows them.
const (
	bareQuery    = "bare-query"
	bareEnvelope = "bare-envelope"
)

// serveFloor is what this program does in a process of its own.
func serveFloor(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	kind := f.String("floor", "", bareQuery+" or "+bareEnvelope)
	listen := f.String("listen", "", "`address`")
	certs := f.String("certs", "", "`directory` of the certificate")
	if err := f.Parse(args); err != nil {
		return err
	}
	var answer func(context.Context, []byte) (*admissionv1.AdmissionResponse, error)
	switch *kind {
	case bareEnvelope:
		answer = allowEnvelope
	case bareQuery:
		q, err := newQuery(ctx)
		if err != nil {
			return err
		}
		answer = q.answer
	default:
		return fmt.Errorf("-floor %q is unknown", *kind)
	}
	srv := &http.Server{
		Addr: *listen, TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13}, ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := make([]byte, max(0, r.ContentLength))
			_, err := io.ReadFull(r.Body, body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			response, err := answer(r.Context(), body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			// Whoever hung up is not told.
			_ = json.NewEncoder(w).Encode(admissionv1.AdmissionReview{
				TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Response: response,
			})
		}),
	}
	context.AfterFunc(ctx, func() { srv.Close() })
	err := srv.ListenAndServeTLS(filepath.Join(*certs, certFile), filepath.Join(*certs, keyFile))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func allowEnvelope(_ context.Context, body []byte) (*admissionv1.AdmissionResponse, error) {
	var review struct {
		Request struct {
			UID    types.UID       `json:"uid"`
			Object json.RawMessage `json:"object"`
		} `json:"request"`
	}
	if err := json.Unmarshal(body, &review); err != nil {
		return nil, err
	}
	return &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}, nil
}

// A readSpec, a readContainer and a readVolume are what the rules read.
type (
	readSpec struct {
		Containers     []readContainer `json:"containers"`
		InitContainers []readContainer `json:"initContainers"`
		Volumes        []readVolume    `json:"volumes"`
		HostPID        bool            `json:"hostPID"`
		HostIPC        bool            `json:"hostIPC"`
		HostNetwork    bool            `json:"hostNetwork"`
		Template       struct {
			Spec *readSpec `json:"spec"`
		} `json:"template"`
	}
	readContainer struct {
		Name            string `json:"name"`
		Image           string `json:"image"`
		Resources       object `json:"resources"`
		SecurityContext object `json:"securityContext"`
		ReadinessProbe  *none  `json:"readinessProbe"`
		LivenessProbe   *none  `json:"livenessProbe"`
	}
	readVolume struct {
		Name     string `json:"name"`
		HostPath object `json:"hostPath"`
	}
	none struct{}
)

// A query is all rules, prepared.
type query struct{ prepared rego.PreparedEvalQuery }

func newQuery(ctx context.Context) (*query, error) {
	sources, err := ruleSources()
	if err != nil {
		return nil, err
	}
	var options []func(*rego.Rego)
	for name, source := range sources {
		options = append(options, rego.Module(name+".rego", source))
	}
	var results []string
	for i, name := range ruleNames(sources) {
		results = append(results, fmt.Sprintf("r%d = data.%s.violation", i, name))
	}
	options = append(options, rego.Query(strings.Join(results, "; ")))
	prepared, err := rego.New(options...).PrepareForEval(ctx)
	return &query{prepared}, err
}

func (q *query) answer(ctx context.Context, body []byte) (*admissionv1.AdmissionResponse, error) {
	var review struct {
		Request struct {
			UID    types.UID `json:"uid"`
			Object struct {
				Kind     string `json:"kind"`
				Metadata struct {
					Labels object `json:"labels"`
				} `json:"metadata"`
				Spec readSpec `json:"spec"`
			} `json:"object"`
		} `json:"request"`
	}
	if err := json.Unmarshal(body, &review); err != nil {
		return nil, err
	}
	o := &review.Request.Object
	spec := o.Spec.value()
	if o.Kind == "Deployment" {
		spec = object{"template": object{"spec": o.Spec.Template.Spec.value()}}
	}
	input, err := ast.InterfaceToValue(object{
		"object":     object{"kind": o.Kind, "metadata": object{"labels": o.Metadata.Labels}, "spec": spec},
		"parameters": allParameters(),
	})
	if err != nil {
		return nil, err
	}
	results, err := q.prepared.Eval(ctx, rego.EvalParsedInput(input))
	if err != nil {
		return nil, err
	}
	var messages []string
	for _, values := range results[0].Bindings {
		for _, v := range values.([]any) {
			messages = append(messages, v.(object)["msg"].(string))
		}
	}
	response := &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: len(messages) == 0}
	if !response.Allowed {
		response.Result = &metav1.Status{Code: http.StatusForbidden, Message: strings.Join(messages, "\n")}
	}
	return response, nil
}

func (s *readSpec) value() object {
	if s == nil {
		return object{}
	}
	volumes := make(list, len(s.Volumes))
	for i, v := range s.Volumes {
		volumes[i] = object{"name": v.Name}
		if v.HostPath != nil {
			volumes[i].(object)["hostPath"] = v.HostPath
		}
	}
	return object{
		"containers": containerValues(s.Containers), "initContainers": containerValues(s.InitContainers), "volumes": volumes,
		"hostPID": s.HostPID, "hostIPC": s.HostIPC, "hostNetwork": s.HostNetwork,
	}
}

func containerValues(containers []readContainer) list {
	out := make(list, len(containers))
	for i, c := range containers {
		v := object{"name": c.Name, "image": c.Image, "resources": c.Resources, "securityContext": c.SecurityContext}
		if c.ReadinessProbe != nil {
			v["readinessProbe"] = object{}
		}
		if c.LivenessProbe != nil {
			v["livenessProbe"] = object{}
		}
		out[i] = v
	}
	return out
}
