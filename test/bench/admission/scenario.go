package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// A scenario is rules in the form of each server, and what is asked of them.
type scenario struct {
	name      string
	workloads []workload
	floors    []string
	needsPeer bool
	// rules returns gitgate's PolicySet and what is for Gatekeeper; its build is nil
	// when it is left out.
	rules func(*gatekeeperBuild) (*unstructured.Unstructured, []templated, error)
}

// A templated is a rule as Gatekeeper has it.
type templated struct{ template, constraint *unstructured.Unstructured }

var scenarios = []scenario{
	{
		name: "ten rules", workloads: []workload{everyNew, repeating}, floors: []string{bareQuery, bareEnvelope},
		rules: func(*gatekeeperBuild) (*unstructured.Unstructured, []templated, error) {
			set, err := ourPolicySet()
			if err != nil {
				return nil, nil, err
			}
			rules, err := ourTemplates()
			return set, rules, err
		},
	},
	{
		name: "ten templates of Gatekeeper", workloads: []workload{podsNew}, floors: []string{bareEnvelope}, needsPeer: true,
		rules: func(build *gatekeeperBuild) (*unstructured.Unstructured, []templated, error) {
			if build == nil {
				return nil, nil, errors.New("the templates are Gatekeeper's: it cannot be left out")
			}
			files, rules, err := theirRules(build.dir)
			return theirPolicySet(files), rules, err
		},
	},
}

// shipped are ten ConstraintTemplates that Gatekeeper ships, by their file, with the
// parameters by which they judge here. Both servers get the files as they are.
var shipped = []struct {
	file       string
	parameters object
}{
	{"demo/agilebank/templates/k8srequiredlabels_template.yaml", object{"labels": list{object{"key": "team", "allowedRegex": "^team-[a-z]+$"}}}},
	{"demo/agilebank/templates/k8sallowedrepos_template.yaml", object{"repos": list{"registry.example.com/", "ghcr.io/acme/"}}},
	{"demo/agilebank/templates/k8srequiredprobes_template.yaml", object{"probes": list{"readinessProbe", "livenessProbe"}, "probeTypes": list{"tcpSocket", "httpGet", "exec"}}},
	{"demo/agilebank/templates/k8scontainterlimits_template.yaml", object{"cpu": "5", "memory": "5Gi"}},
	{"demo/agilebank/remediation/k8sbannedimagetags_template.yaml", object{"tags": list{"latest"}}},
	{pspTemplates + "host-filesystem-template.yaml", object{"allowedHostPaths": list{object{"pathPrefix": "/var/log", "readOnly": true}}}},
	{pspTemplates + "privileged-containers-template.yaml", nil},
	{pspTemplates + "host-namespace-template.yaml", nil},
	{pspTemplates + "volume-template.yaml", object{"volumes": list{"configMap", "secret", "emptyDir", "projected", "hostPath"}}},
	{pspTemplates + "host-network-ports-template.yaml", object{"hostNetwork": false, "min": int64(1024), "max": int64(65535)}},
}

const pspTemplates = "pkg/webhook/testdata/psp-all-violations/psp-templates/"

// theirRules reads the shipped templates in Gatekeeper's source, and makes a
// constraint on all Pods of each. It returns them as files and as objects.
func theirRules(dir string) (files map[string]string, rules []templated, err error) {
	files = map[string]string{}
	for _, s := range shipped {
		text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(s.file)))
		if err != nil {
			return nil, nil, err
		}
		template := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &template.Object); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", s.file, err)
		}
		kind, _, _ := unstructured.NestedString(template.Object, "spec", "crd", "spec", "names", "kind")
		spec := object{"match": object{"kinds": list{object{"apiGroups": list{""}, "kinds": list{"Pod"}}}}}
		if s.parameters != nil {
			spec["parameters"] = s.parameters
		}
		constraint := &unstructured.Unstructured{Object: object{
			"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": kind,
			"metadata": object{"name": strings.ToLower(kind)}, "spec": spec,
		}}
		written, err := yaml.Marshal(constraint.Object)
		if err != nil {
			return nil, nil, err
		}
		files[template.GetName()+".yaml"], files[template.GetName()+"-constraint.yaml"] = string(text), string(written)
		rules = append(rules, templated{template, constraint})
	}
	return files, rules, nil
}

// theirPolicySet has the files as they are.
func theirPolicySet(files map[string]string) *unstructured.Unstructured {
	inline := object{}
	for name, text := range files {
		inline[name] = text
	}
	return &unstructured.Unstructured{Object: object{
		"apiVersion": "gitgate.dev/v1alpha1", "kind": "PolicySet", "metadata": object{"name": "rules"},
		"spec": object{"admission": "Enforce", "format": "Gatekeeper", "source": object{"inline": inline}},
	}}
}
