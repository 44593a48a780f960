package registration

import (
	"bytes"
	"encoding/json"
	"fmt"

	arv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// staticSuffix ends the names of policies that exist as files of the API server
// only.
const staticSuffix = ".static.k8s.io"

const groupAdmission = "admissionregistration.k8s.io"

// unseen are the six kinds that no webhook and no policy of the API ever sees.
var unseen = []string{
	"validatingwebhookconfigurations", "mutatingwebhookconfigurations",
	"validatingadmissionpolicies", "validatingadmissionpolicybindings",
	"mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
}

// The static manifests, by file name.
const (
	// StaticOwn guards what gitgate has installed.
	StaticOwn = "gitgate-registration.yaml"
	// StaticOthers lets nobody but the writers named in it touch the six kinds.
	StaticOthers = "gitgate-admission-writers.yaml"
)

// StaticManifests returns policies as files for the API server, Kubernetes 1.37 or
// later: put them into the staticManifestsDir of the plugin
// ValidatingAdmissionPolicy in its AdmissionConfiguration. They hold without
// gitgate running, and cannot be changed through the API.
//
// [StaticOwn] is for everybody. [StaticOthers] is stricter: it needs writers, the
// user names under which releases, or controllers such as cert-manager's
// cainjector, write webhook configurations and policies.
func StaticManifests(namespace string, writers []string) (map[string][]byte, error) {
	webhook, reconciler := account(namespace, "gitgate-webhook"), account(namespace, "gitgate-reconciler")
	rules := []arv1.NamedRuleWithOperations{
		rule(groupAdmission, []arv1.OperationType{arv1.Create, arv1.Update, arv1.Delete}, unseen...),
	}
	// A deletecollection bears no name: the object does.
	const subject = "(request.operation == 'DELETE' ? oldObject : object)"
	const ours = "(" + subject + ".metadata.name == '" + Name + "' || " + subject + ".metadata.name.startsWith('" + policyPrefix + "'))"
	configuration := "request.resource.resource != 'validatingwebhookconfigurations' || request.operation == 'DELETE' || "
	own := policy("gitgate-registration"+staticSuffix, ours, rules, []Bound{
		{"request.userInfo.username == " + quote(webhook), "its registration is written by the webhook's account alone"},
		{configuration + "object.webhooks.exists(w, w.name == '" + webhookAll + "' && w.rules.exists(r, '*' in r.apiGroups && '*/*' in r.resources && '*' in r.operations))",
			"the webhook covers everything"},
		{configuration + "object.webhooks.all(w, size(w.namespaceSelector) == 0 && size(w.objectSelector) == 0)", "the webhook has no selectors"},
		{configuration + "object.metadata.name == '" + Name + "'", "gitgate has one webhook configuration"},
	}, arv1.Deny)
	others := policy("gitgate-admission-writers"+staticSuffix, "!"+ours, rules, []Bound{
		{"request.userInfo.username in " + list(append([]string{reconciler}, writers...)), "webhook configurations and admission policies come from Git"},
	}, arv1.Deny)
	out := map[string][]byte{}
	for name, p := range map[string]Policy{StaticOwn: own, StaticOthers: others} {
		data, err := manifest(p)
		if err != nil {
			return nil, err
		}
		out[name] = data
	}
	return out, nil
}

// manifest writes a policy and its binding as YAML.
func manifest(p Policy) ([]byte, error) {
	var b bytes.Buffer
	for _, o := range []runtime.Object{p.Policy, p.Binding} {
		raw, err := json.Marshal(o)
		if err != nil {
			return nil, err
		}
		var fields map[string]any
		if err := json.Unmarshal(raw, &fields); err != nil {
			return nil, err
		}
		delete(fields, "status")
		fields["apiVersion"] = arv1.SchemeGroupVersion.String()
		fields["kind"] = "ValidatingAdmissionPolicy"
		if o == runtime.Object(p.Binding) {
			fields["kind"] = "ValidatingAdmissionPolicyBinding"
		}
		text, err := yaml.Marshal(fields)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "---\n%s", text)
	}
	return b.Bytes(), nil
}
