package policy_test

import (
	"encoding/json"
	"slices"
	"testing"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/schema"
)

// What is misspelt would be undefined on every object: rules that read it do not load.
func TestTypes(t *testing.T) {
	for name, tc := range map[string]struct{ reason, rule, want string }{
		"Typo":          {"A field that every kind has.", `deny contains "x" if input.object.spce.replicas`, `acme.rego:3:35: policy set "acme": input.object has no field "spce": is spec meant?`},
		"Old":           {"Of the old object too.", `deny contains "x" if input.oldObject.metdata.name`, `acme.rego:3:38: policy set "acme": input.oldObject has no field "metdata": is metadata meant?`},
		"Part":          {"A part of the input.", `deny contains "x" if input.objekt.spec`, `acme.rego:3:28: policy set "acme": input has no field "objekt": is object meant?`},
		"Metadata":      {"metadata has no other fields.", `deny contains "x" if input.object.metadata.label.a`, `acme.rego:3:44: policy set "acme": input.object.metadata has no field "label": is labels meant?`},
		"User":          {"Nor has who asks.", `deny contains "x" if input.userInfo.user == "a"`, `acme.rego:3:37: policy set "acme": input.userInfo has no field "user": it has extra, groups, uid, username`},
		"Image":         {"Through a variable of the list.", `deny contains "x" if { some i in input.images; i.authority }`, `acme.rego:3:50: policy set "acme": i has no field "authority": it has attestations, authorities, digest, ref`},
		"Type":          {"A built-in is given what it cannot take.", `deny contains "x" if startswith(input.source.line, "a")`, `acme.rego:3:22: policy set "acme": startswith: invalid argument(s)`},
		"Gatekeeper":    {"Another tool's input has another format.", `deny contains "x" if input.review.object.spec`, `acme.rego:3:28: policy set "acme": input has no field "review": it has commit, images, known, namespace, object, oldObject, operation, parameters, source, time, userInfo; rules for Gatekeeper want the format Gatekeeper`},
		"Conftest":      {"And another one's.", `deny contains "x" if input.spec.replicas`, `acme.rego:3:28: policy set "acme": input has no field "spec": it has commit, images, known, namespace, object, oldObject, operation, parameters, source, time, userInfo; the object is input.object; rules for conftest want the format Conftest`},
		"Kind":          {"A field of the one kind that a rule is for.", `deny contains "x" if { input.object.kind == "Deployment"; input.object.spec.template.spec.hostNetwrok }`, `acme.rego:3:91: policy set "acme": input.object.spec.template.spec of kind Deployment has no field "hostNetwrok": is hostNetwork meant?`},
		"Alias":         {"By another name.", `deny contains "x" if { input.object.kind == "Pod"; some c in input.object.spec.containers; c.securityContext.privilegd }`, `acme.rego:3:110: policy set "acme": input.object.spec.containers[_].securityContext of kind Pod has no field "privilegd": is privileged meant?`},
		"AliasOfAlias":  {"And that by another.", `deny contains "x" if { input.object.kind == "Pod"; s := input.object.spec; c := s.containers[0]; c.imag }`, `acme.rego:3:100: policy set "acme": input.object.spec.containers[_] of kind Pod has no field "imag": is image meant?`},
		"Comprehension": {"In a comprehension.", `deny contains "x" if { input.object.kind == "Pod"; count({c | c := input.object.spec.container[_]}) > 1 }`, `acme.rego:3:86: policy set "acme": input.object.spec of kind Pod has no field "container": is containers meant?`},
		"OfAnother":     {"A field of one of two kinds.", `deny contains "x" if { input.object.kind in {"Pod", "Deployment"}; input.object.spec.replicas }`, ``},
		"OfNeither":     {"A field of neither.", `deny contains "x" if { input.object.kind in {"Pod", "Deployment"}; input.object.spec.replica }`, `acme.rego:3:86: policy set "acme": input.object.spec of kind Deployment or Pod has no field "replica": is replicas meant?`},
		"NotSpec":       {"A kind without a spec.", `deny contains "x" if { input.object.kind == "ConfigMap"; input.object.spec }`, `acme.rego:3:71: policy set "acme": input.object of kind ConfigMap has no field "spec": it has apiVersion, binaryData, data, immutable, kind, metadata`},
		"Group":         {"Another group may have a kind of that name.", `deny contains "x" if { input.object.kind == "Service"; startswith(input.object.apiVersion, "serving.knative.dev/"); input.object.spec.template }`, ``},
		"Custom":        {"Kinds that are not built in have any fields.", `deny contains "x" if { input.object.kind == "Certificate"; input.object.spec.dnsNmaes }`, ``},
		"AnyKind":       {"So has an object of any kind.", `deny contains "x" if { input.object.webhooks[_].failurePolicy; input.object.spec.whatever; input.object.subjects; input.object.specification }`, ``},
		"Quoted":        {"Labels are not fields.", `deny contains "x" if input.object.metadata.labels["spce"]`, ``},
		"Twice":         {"A name for two things is neither.", `deny contains "x" if { input.object.kind == "Pod"; x = input.object.spec; x = input.object.status; x.nowhere }`, ``},
		"Iteration":     {"A key that is not known may be any.", `deny contains "x" if { input.object.kind == "Pod"; some k in ["a"]; input.object[k].nowhere }`, ``},
	} {
		t.Run(name, func(t *testing.T) {
			set := policy.Set{Name: "acme", Modules: map[string]string{"acme.rego": "package acme\n\n" + tc.rule}}
			_, err := policy.Load(t.Context(), []policy.Set{set}, policy.Options{Fields: schema.Fields})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("%s\ngot  %s\nwant %s", tc.reason, got, tc.want)
			}
		})
	}
}

// The schema must name exactly what is in the input.
func TestInputSchemaIsTheInput(t *testing.T) {
	var schema struct {
		Properties map[string]struct{ Properties map[string]any }
	}
	if err := json.Unmarshal(policy.InputSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	in := fullInput(t)
	for _, part := range []string{"", "userInfo", "commit", "source", "known"} {
		expr := "object.keys(input)"
		var want []string
		if part != "" {
			expr = "object.keys(input." + part + ")"
			for key := range schema.Properties[part].Properties {
				want = append(want, key)
			}
		} else {
			want = append(want, "_inventory")
			for key := range schema.Properties {
				want = append(want, key)
			}
		}
		slices.Sort(want)
		var got []string
		for _, f := range load(t, "package acme\n\ndeny contains k if some k in "+expr).Evaluate(t.Context(), in) {
			got = append(got, f.Message)
		}
		if !slices.Equal(got, want) {
			t.Errorf("input %s has %q, the schema %q", part, got, want)
		}
	}
}
