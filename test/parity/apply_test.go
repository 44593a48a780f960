package parity

import (
	"fmt"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// applyTrials are commits that the API server has something to say of. Of these
// gitgate check can know the schemas; what else the server knows it cannot.
func (w *world) applyTrials() map[string]trial {
	web := lab.Deployment("web", w.images.web.Pinned(), 1)
	more := func(text string) gitrepo.Change { return files("more.yaml", text) }
	return map[string]trial{
		"UnknownField": {reason: "A field that the kind does not have.", change: files("web.yaml", edited(web, "replicas: 1", "replica: 1")), want: reasons(verdict.SchemaInvalid)},
		"WrongType":    {reason: "A text where a number belongs.", change: files("web.yaml", edited(web, "replicas: 1", "replicas: one")), want: reasons(verdict.PolicyDenied, verdict.SchemaInvalid)},
		"Nested":       {reason: "A mapping where a text belongs.", change: more(configMap("k: {a: b}")), want: reasons(verdict.SchemaInvalid)},
		"Selector":     {reason: "A selector that does not select its own template.", change: files("app.yaml", edited(lab.Deployment("app", w.images.web.Pinned(), 1), "matchLabels: {app: app}", "matchLabels: {app: other}")), server: reasons(verdict.DryRunRejected)},
		"Immutable":    {reason: "A field that cannot be changed.", change: files("web.yaml", edited(edited(web, "matchLabels: {app: web}", "matchLabels: {tier: web}"), "labels: {app: web}", "labels: {tier: web}")), server: reasons(verdict.DryRunRejected)},
		"BadName":      {reason: "A name that is none.", change: more(edited(configMap("k: v"), "name: more", "name: More_")), server: reasons(verdict.DryRunRejected)},
		"BadPort":      {reason: "A port that does not exist.", change: more(edited(service, "port: 80", "port: 80000")), server: reasons(verdict.DryRunRejected)},
		"NoKind":       {reason: "A kind that nobody serves.", change: more("apiVersion: nobody.example.com/v1\nkind: Nothing\nmetadata: {name: more}\n"), want: reasons(verdict.SchemaInvalid)},
		"NoNamespace":  {reason: "A namespace that does not exist.", plan: untargeted, change: more(edited(configMap("k: v"), "name: more", "name: more\n  namespace: parity-nowhere")), server: reasons(verdict.DryRunRejected)},
		"Definition":   {reason: "A custom kind with its first object.", change: files("crd.yaml", crd("ships", "Ship"), "ship.yaml", ship("Ship", "length: 3"))},
		"AgainstIt":    {reason: "An object that does not fit its own definition.", change: files("crd.yaml", crd("boats", "Boat"), "boat.yaml", ship("Boat", "length: long")), want: reasons(verdict.SchemaInvalid)},
		"Minimum":      {reason: "A value that the definition does not allow.", change: files("crd.yaml", crd("rafts", "Raft"), "raft.yaml", ship("Raft", "length: -3")), want: reasons(verdict.SchemaInvalid)},
		"NewNamespace": {reason: "A namespace with its first object.", plan: untargeted,
			change: files("ns.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: parity-new}\n", "more.yaml", edited(configMap("k: v"), "name: more", "name: more\n  namespace: parity-new"))},
	}
}

// untargeted is a plan under which manifests name their namespaces themselves.
func untargeted(s *site, p *plan) {
	p.sync.Spec.TargetNamespace = ""
	p.files = map[string]string{"deploy/spare.yaml": edited(lab.ConfigMap("spare", "k", "v"), "name: spare", "name: spare\n  namespace: "+s.name)}
}

func crd(plural, kind string) string {
	return fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]s.parity.example.com}
spec:
  group: parity.example.com
  scope: Namespaced
  names: {plural: %[1]s, kind: %[2]s}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              length: {type: integer, minimum: 0}
`, plural, kind)
}

func ship(kind, spec string) string {
	return "apiVersion: parity.example.com/v1\nkind: " + kind + "\nmetadata: {name: first}\nspec:\n  " + spec + "\n"
}
