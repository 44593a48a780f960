package main

import (
	"context"
	"os"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/test/bench/internal/measure"
	"gitgate.dev/gitgate/webhook"
)

const gitgateNamespace = "gitgate-system"

var policySets = schema.GroupVersionResource{Group: "gitgate.dev", Version: "v1alpha1", Resource: "policysets"}

// startGitgate installs gitgate with the rules as one PolicySet, and starts one
// replica of its webhook. It registers itself with the API server, whose own
// few writes it thus judges too.
func (b *bench) startGitgate(ctx context.Context) (*server, error) {
	if err := b.installGitgate(ctx); err != nil {
		return nil, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	s := &server{name: gitgateName, addr: "127.0.0.1:" + ports[0], path: webhook.Path, pool: b.pool}
	s.proc, err = b.start(gitgateName, b.opts.gitgate, nil,
		"webhook", "--kubeconfig", b.cluster.Kubeconfig(), "--namespace", gitgateNamespace, "--user", "kubernetes-admin",
		"--data-dir", filepath.Join(b.dir, "data"), "--bind-address", s.addr, "--url", "https://"+s.addr,
		"--tls-cert-file", filepath.Join(b.dir, certFile), "--tls-private-key-file", filepath.Join(b.dir, keyFile),
		"--tls-ca-file", filepath.Join(b.dir, caFile), "--decision-log", filepath.Join(b.logs, "decisions.jsonl"),
		"--metrics-bind-address", "0", "--health-probe-bind-address", "0")
	if err != nil {
		return nil, err
	}
	b.onClose(s.proc.Stop)
	return s, nil
}

// installGitgate creates its kinds, its namespace and the rules.
func (b *bench) installGitgate(ctx context.Context) error {
	root, err := measure.Root()
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(root, "deploy", "crds", "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(data, &u.Object); err != nil {
			return err
		}
		if _, err := b.client.Resource(crds).Create(ctx, u, metav1.CreateOptions{}); err != nil {
			return err
		}
		if err := awaitCRD(ctx, b.client, u.GetName()); err != nil {
			return err
		}
	}
	namespace := &unstructured.Unstructured{Object: object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": gitgateNamespace}}}
	if _, err := b.client.Resource(namespaceResource).Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return err
	}
	return await(ctx, "the PolicySet to be created", func(ctx context.Context) (bool, error) {
		_, err := b.client.Resource(policySets).Create(ctx, b.policySet, metav1.CreateOptions{})
		return err == nil, unlessServedSoon(err)
	})
}

// ourPolicySet holds all of our rules.
func ourPolicySet() (*unstructured.Unstructured, error) {
	sources, err := ruleSources()
	if err != nil {
		return nil, err
	}
	modules := object{}
	for name, source := range sources {
		modules[name+".rego"] = source
	}
	return &unstructured.Unstructured{Object: object{
		"apiVersion": "gitgate.dev/v1alpha1", "kind": "PolicySet", "metadata": object{"name": "rules"},
		"spec": object{
			"admission": "Enforce", "source": object{"inline": modules}, "parameters": allParameters(),
			"match": object{"kinds": list{
				object{"apiGroups": list{""}, "kinds": list{"Pod"}}, object{"apiGroups": list{"apps"}, "kinds": list{"Deployment"}},
			}},
		},
	}}, nil
}
