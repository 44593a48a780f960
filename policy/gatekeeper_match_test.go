package policy_test

import (
	"testing"

	"gitgate.dev/gitgate/policy"
)

// Constraints select as Gatekeeper 3.23 does.
func TestGatekeeperMatch(t *testing.T) {
	const (
		deploy  = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web-1","namespace":"shop","labels":{"tier":"web"}}}`
		made    = `{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"web-","namespace":"shop"}}`
		role    = `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"web-1"}}`
		space   = `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop","labels":{"env":"prod"}}}`
		another = `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop","labels":{"env":"dev"}}}`
	)
	for name, tc := range map[string]struct {
		reason, match, object string
		namespace             string
		want                  bool
	}{
		"Empty":            {"Nothing said is anything.", "{}", deploy, "", true},
		"Kind":             {"Group and kind.", "{kinds: [{apiGroups: [apps], kinds: [Deployment]}]}", deploy, "", true},
		"Group":            {"Another group.", `{kinds: [{apiGroups: [""], kinds: [Deployment]}]}`, deploy, "", false},
		"AnyGroup":         {"Any group.", `{kinds: [{apiGroups: ["*"], kinds: ["*"]}]}`, role, "", true},
		"NoGroup":          {"No group said is any.", "{kinds: [{kinds: [Deployment]}]}", deploy, "", true},
		"Namespaced":       {"What is in a namespace.", "{scope: Namespaced}", deploy, "", true},
		"NamespacedRole":   {"And what is not.", "{scope: Namespaced}", role, "", false},
		"NamespacedSpace":  {"A Namespace is in none.", "{scope: Namespaced}", space, "", false},
		"Cluster":          {"The other way round.", "{scope: Cluster}", role, "", true},
		"ClusterSpace":     {"A Namespace is of the cluster.", "{scope: Cluster}", space, "", true},
		"ClusterDeploy":    {"And a Deployment is not.", "{scope: Cluster}", deploy, "", false},
		"AnyScope":         {"Any scope.", `{scope: "*"}`, deploy, "", true},
		"In":               {"In a namespace.", "{namespaces: [shop]}", deploy, "", true},
		"InGlob":           {"By the end of its name.", `{namespaces: ["*op"]}`, deploy, "", true},
		"NotIn":            {"In another.", "{namespaces: [sho]}", deploy, "", false},
		"InRole":           {"What is in none is not asked, unlike in our own match.", "{namespaces: [sho]}", role, "", true},
		"InSpace":          {"A Namespace counts by its name.", "{namespaces: [shop]}", space, "", true},
		"Out":              {"Not in a namespace.", `{excludedNamespaces: ["sh*"]}`, deploy, "", false},
		"OutSpace":         {"Nor the Namespace.", `{excludedNamespaces: [shop]}`, space, "", false},
		"OutRole":          {"What is in none is in no excluded one.", `{excludedNamespaces: ["*"]}`, role, "", true},
		"Name":             {"A name.", "{name: web-1}", deploy, "", true},
		"NameGlob":         {"The beginning of one.", `{name: "web*"}`, deploy, "", true},
		"NameOther":        {"Another one.", "{name: web}", deploy, "", false},
		"GeneratedGlob":    {"Of a name to be made the beginning is known.", `{name: "web-*"}`, made, "", true},
		"GeneratedEnd":     {"But not its end.", `{name: "*-"}`, made, "", false},
		"GeneratedInside":  {"What is within the beginning is.", `{name: "*eb*"}`, made, "", true},
		"GeneratedName":    {"And not all of it.", "{name: web-}", made, "", false},
		"Labels":           {"Labels.", "{labelSelector: {matchLabels: {tier: web}}}", deploy, "", true},
		"LabelsOther":      {"Other labels.", "{labelSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [web]}]}}", deploy, "", false},
		"Selected":         {"Labels of the Namespace.", "{namespaceSelector: {matchLabels: {env: prod}}}", deploy, space, true},
		"NotSelected":      {"Other ones.", "{namespaceSelector: {matchLabels: {env: prod}}}", deploy, another, false},
		"SelectedSpace":    {"A Namespace counts by its own.", "{namespaceSelector: {matchLabels: {env: prod}}}", space, "", true},
		"NotSelectedSpace": {"Of whichever.", "{namespaceSelector: {matchLabels: {env: prod}}}", another, "", false},
		"SelectedRole":     {"What is in none is selected.", "{namespaceSelector: {matchLabels: {env: prod}}}", role, "", true},
		"Source":           {"What is written is original.", "{source: Original}", deploy, "", true},
		"Generated":        {"And not derived.", "{source: Generated}", deploy, "", false},
		"AllOf":            {"All that is said must hold.", "{scope: Namespaced, name: other}", deploy, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := gatekeeper(t, template("T", `violation[{"msg": "x"}] { true }`), constraint("T", "c", "match: "+tc.match))
			if err != nil {
				t.Fatal(err)
			}
			in := policy.Input{Object: []byte(tc.object)}
			if tc.namespace != "" {
				in.Namespace = []byte(tc.namespace)
			}
			fs := e.Evaluate(t.Context(), in)
			if got := len(fs) == 1 && fs[0].Message == "x"; got != tc.want || len(fs) > 0 && !got {
				t.Errorf("%s\nfindings %v, want it selected: %t", tc.reason, fs, tc.want)
			}
		})
	}
}
