package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

var (
	crds              = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	namespaceResource = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

const gatekeeperNamespace = "gatekeeper-system"

// gatekeeper is where the peer comes from; its version is in the go.mod file of its
// module.
var gatekeeper = measure.Peer{
	Name: "Gatekeeper", Module: "test/bench/admission/gatekeeper", Package: "github.com/open-policy-agent/gatekeeper/v3", Binary: "gatekeeper",
}

// A gatekeeperBuild is Gatekeeper, built, and its source.
type gatekeeperBuild struct{ binary, dir string }

// manifest is what it is shipped with.
func (g *gatekeeperBuild) manifest() string { return filepath.Join(g.dir, "deploy", "gatekeeper.yaml") }

// buildGatekeeper builds Gatekeeper, unless it is in the user's cache.
func buildGatekeeper(ctx context.Context, tell measure.Teller) (*gatekeeperBuild, error) {
	dir, err := gatekeeperDir(ctx)
	if err != nil {
		return nil, err
	}
	binary, err := gatekeeper.Build(ctx, tell)
	return &gatekeeperBuild{binary, dir}, err
}

// gatekeeperDir is where the source of Gatekeeper is.
func gatekeeperDir(ctx context.Context) (string, error) {
	module, err := gatekeeper.Dir()
	if err != nil {
		return "", err
	}
	out, err := measure.Output(ctx, module, nil, "go", "list", "-mod=readonly", "-f", "{{.Dir}}", gatekeeper.Package)
	return strings.TrimSpace(string(out)), err
}

// patience bounds waiting for what takes a second on an idle machine.
const patience = 2 * time.Minute

// startGatekeeper installs Gatekeeper with the rules as its manifest does, and
// starts one replica of its webhook.
func (b *bench) startGatekeeper(ctx context.Context, build *gatekeeperBuild) (*server, error) {
	if err := b.installManifest(ctx, build.manifest()); err != nil {
		return nil, err
	}
	// What the audit Deployment does for the webhook: make the kinds of constraints.
	generator, err := b.runGatekeeper(build.binary, "gatekeeper-audit", "--operation=audit", "--operation=status", "--operation=mutation-status",
		"--operation=generate", "--audit-interval=0", "--disable-cert-rotation")
	if err != nil {
		return nil, err
	}
	defer generator.proc.Stop()
	if err := b.installRules(ctx); err != nil {
		return nil, generator.proc.Explain(err)
	}
	webhook, err := b.runGatekeeper(build.binary, "gatekeeper", "--exempt-namespace="+gatekeeperNamespace,
		"--operation=webhook", "--operation=mutation-webhook", "--disable-cert-rotation")
	if err != nil {
		return nil, err
	}
	webhook.path = "/v1/admit"
	return webhook, nil
}

// runGatekeeper starts one process with the flags of the manifest, but with ports
// of its own, the benchmark's certificate and no Pod around it.
func (b *bench) runGatekeeper(binary, name string, flags ...string) (*server, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	flags = append(flags, "--logtostderr", "--disable-opa-builtin={http.send}", "--debug-use-fake-pod", "--host=127.0.0.1",
		"--port="+ports[0], "--health-addr=127.0.0.1:"+ports[1], "--prometheus-port="+ports[2], "--cert-dir="+b.dir)
	env := []string{"KUBECONFIG=" + b.cluster.Kubeconfig(), "POD_NAMESPACE=" + gatekeeperNamespace, "POD_NAME=" + name,
		"NAMESPACE=" + gatekeeperNamespace, "CONTAINER_NAME=manager"}
	p, err := b.start(name, binary, env, flags...)
	if err != nil {
		return nil, err
	}
	b.onClose(p.Stop)
	s := &server{name: "Gatekeeper", addr: "127.0.0.1:" + ports[0], pool: b.pool, proc: p}
	ready := func(ctx context.Context) (bool, error) {
		select {
		case <-p.Done():
			return false, p.Explain(errors.New(name + " has ended"))
		default:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+ports[1]+"/healthz", nil)
		if err != nil {
			return false, err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, nil // not listening yet
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK, nil
	}
	if err := await(b.ctx, name+" to be alive", ready); err != nil {
		return nil, p.Explain(err)
	}
	return s, nil
}

// installManifest creates the namespace and the kinds of Gatekeeper's manifest.
// Its webhook configurations are left out: it is the load that asks.
func (b *bench) installManifest(ctx context.Context, manifest string) error {
	data, err := os.ReadFile(manifest)
	if err != nil {
		return err
	}
	docs := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		u := &unstructured.Unstructured{}
		if err := docs.Decode(&u.Object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("%s: %w", manifest, err)
		}
		gvr, ok := map[string]schema.GroupVersionResource{"CustomResourceDefinition": crds, "Namespace": namespaceResource}[u.GetKind()]
		if !ok {
			continue
		}
		if _, err := b.client.Resource(gvr).Create(ctx, u, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return awaitCRD(ctx, b.client, "constrainttemplates.templates.gatekeeper.sh")
}

// installRules creates the ConstraintTemplates and the constraints of the scenario.
func (b *bench) installRules(ctx context.Context) error {
	for _, r := range b.templates {
		version := r.template.GroupVersionKind().Version
		gvr := schema.GroupVersionResource{Group: "templates.gatekeeper.sh", Version: version, Resource: "constrainttemplates"}
		if _, err := b.client.Resource(gvr).Create(ctx, r.template, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("template %s: %w", r.template.GetName(), err)
		}
	}
	for _, r := range b.templates {
		resource := strings.ToLower(r.constraint.GetKind())
		if err := awaitCRD(ctx, b.client, resource+".constraints.gatekeeper.sh"); err != nil {
			return err
		}
		gvr := schema.GroupVersionResource{Group: "constraints.gatekeeper.sh", Version: "v1beta1", Resource: resource}
		create := func(ctx context.Context) (bool, error) {
			_, err := b.client.Resource(gvr).Create(ctx, r.constraint, metav1.CreateOptions{})
			return err == nil, unlessServedSoon(err)
		}
		if err := await(ctx, "constraint "+r.constraint.GetName()+" to be created", create); err != nil {
			return err
		}
	}
	return nil
}

// ourTemplates has a ConstraintTemplate and a constraint for each of our rules.
func ourTemplates() ([]templated, error) {
	sources, err := ruleSources()
	if err != nil {
		return nil, err
	}
	var out []templated
	for _, rule := range ruleNames(sources) {
		out = append(out, templated{constraintTemplate(rule, sources), constraint(rule)})
	}
	return out, nil
}

// unlessServedSoon drops the error of a kind that was established a moment ago.
func unlessServedSoon(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// kindOf is the kind of the constraint, and in lower case its template.
func kindOf(rule string) string { return strings.ReplaceAll(rule, "_", "") }

func constraintTemplate(rule string, sources map[string]string) *unstructured.Unstructured {
	properties := map[string]any{}
	for name := range parameters[rule] {
		properties[name] = map[string]any{"type": "array", "items": map[string]any{"type": "string"}}
	}
	source := map[string]any{"version": "v1", "rego": forGatekeeper(sources[rule])}
	if strings.Contains(sources[rule], "import data.lib.") {
		source["libs"] = []any{forGatekeeper(sources[library])}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "templates.gatekeeper.sh/v1", "kind": "ConstraintTemplate", "metadata": map[string]any{"name": kindOf(rule)},
		"spec": map[string]any{
			"crd": map[string]any{"spec": map[string]any{
				"names":      map[string]any{"kind": kindOf(rule)},
				"validation": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "properties": properties}},
			}},
			"targets": []any{map[string]any{
				"target": "admission.k8s.gatekeeper.sh",
				"code":   []any{map[string]any{"engine": "Rego", "source": source}},
			}},
		},
	}}
}

func constraint(rule string) *unstructured.Unstructured {
	spec := map[string]any{"match": map[string]any{"kinds": []any{
		map[string]any{"apiGroups": []any{""}, "kinds": []any{"Pod"}}, map[string]any{"apiGroups": []any{"apps"}, "kinds": []any{"Deployment"}},
	}}}
	if p := parameters[rule]; p != nil {
		spec["parameters"] = p
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": kindOf(rule),
		"metadata": map[string]any{"name": strings.ReplaceAll(rule, "_", "-")}, "spec": spec,
	}}
}

func awaitCRD(ctx context.Context, client dynamic.Interface, name string) error {
	return await(ctx, "the kind "+name+" to be served", func(ctx context.Context) (bool, error) {
		u, err := client.Resource(crds).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, nil // not there yet
		}
		conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
		for _, c := range conditions {
			if c, ok := c.(map[string]any); ok && c["type"] == "Established" && c["status"] == "True" {
				return true, nil
			}
		}
		return false, nil
	})
}

// await asks until the answer is yes.
func await(ctx context.Context, what string, ask func(context.Context) (bool, error)) error {
	ctx, stop := context.WithTimeoutCause(ctx, patience, fmt.Errorf("waited %s for %s", patience, what))
	defer stop()
	for {
		done, err := ask(ctx)
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
