package parity

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// inForce is what is applied at every site before the commit.
func (w *world) inForce() map[string]string {
	return map[string]string{
		"deploy/web.yaml":      lab.Deployment("web", w.images.web.Pinned(), 1),
		"deploy/settings.yaml": lab.ConfigMap("settings", "color", "blue"),
		"deploy/kept.yaml":     kept,
		"deploy/spare.yaml":    lab.ConfigMap("spare", "k", "v"),
	}
}

const kept = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: kept\n  labels: {keep: \"true\"}\ndata: {k: v}\n"

// houseRules is the PolicySet that every site has beside the restricted pack.
func houseRules() *v1alpha1.PolicySet {
	return policySet("house", `package house

deny contains {"msg": "no debugging in production", "field": "data.debug"} if input.object.data.debug == "true"

deny contains sprintf("%s: the colour stays %s", [input.object.metadata.name, input.oldObject.data.color]) if {
	input.operation == "UPDATE"
	input.oldObject.data.color != input.object.data.color
}

deny contains {"msg": "this object stays", "field": "metadata.labels.keep"} if {
	input.operation == "DELETE"
	input.oldObject.metadata.labels.keep == "true"
}

violation contains {"msg": "too many replicas", "details": {"most": 9}, "field": "spec.replicas"} if input.object.spec.replicas > 9

deny contains "the number is too large" if to_number(input.object.data.number) > 10

warn contains {"msg": "red is loud", "field": "data.color"} if input.object.data.color == "red"
`)
}

func policySet(name, rego string) *v1alpha1.PolicySet {
	return &v1alpha1.PolicySet{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.PolicySetSpec{Source: v1alpha1.PolicySource{Inline: map[string]string{name + ".rego": rego}}},
	}
}

// files is a change of files, by the path below deploy; no text deletes.
func files(texts ...string) gitrepo.Change {
	c := gitrepo.Change{Files: map[string]string{}}
	for i := 0; i+1 < len(texts); i += 2 {
		if texts[i+1] == "" {
			c.Delete = append(c.Delete, "deploy/"+texts[i])
		} else {
			c.Files["deploy/"+texts[i]] = texts[i+1]
		}
	}
	return c
}

// harmless is a change that nothing can be said against.
func harmless() gitrepo.Change { return files("more.yaml", lab.ConfigMap("more", "k", "v")) }

// by has somebody else make a change.
func by(c gitrepo.Change, who gitrepo.Person, sign gitrepo.Signer) gitrepo.Change {
	c.Author, c.Sign = who, sign
	return c
}

// edited replaces the first of a text that has to be there.
func edited(text, old, with string) string {
	if !strings.Contains(text, old) {
		panic("no " + old + " in " + text)
	}
	return strings.Replace(text, old, with, 1)
}
