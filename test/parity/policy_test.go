package parity

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// under is a plan with a PolicySet of the site's own in package acme.
func under(rego string, edit ...func(*v1alpha1.PolicySet)) func(*site, *plan) {
	return func(s *site, p *plan) {
		set := policySet(s.name, "package acme\n\n"+rego+"\n")
		for _, e := range edit {
			e(set)
		}
		p.sets = append(p.sets, set)
	}
}

// budget is a plan with a deletion budget.
func budget(v intstr.IntOrString) func(*site, *plan) {
	return func(_ *site, p *plan) { p.sync.Spec.DeletionBudget = &v }
}

func with(plans ...func(*site, *plan)) func(*site, *plan) {
	return func(s *site, p *plan) {
		for _, edit := range plans {
			edit(s, p)
		}
	}
}

// policyTrials are commits that differ in what rules say of them.
func (w *world) policyTrials() map[string]trial {
	return merged(w.ruleTrials(), w.contextTrials(), w.deletionTrials(), w.exceptionTrials())
}

// ruleTrials are about what rules say of objects.
func (w *world) ruleTrials() map[string]trial {
	web := func(old, with string) gitrepo.Change {
		return files("web.yaml", edited(lab.Deployment("web", w.images.web.Pinned(), 1), old, with))
	}
	more := func(key, value string) gitrepo.Change { return files("more.yaml", lab.ConfigMap("more", key, value)) }
	set := func(edit func(*v1alpha1.PolicySetSpec)) func(*v1alpha1.PolicySet) {
		return func(p *v1alpha1.PolicySet) { edit(&p.Spec) }
	}
	return map[string]trial{
		"Denied":     {reason: "A rule denies.", change: more("debug", "true"), want: reasons(verdict.PolicyDenied)},
		"Warned":     {reason: "A rule warns, and the commit passes.", change: more("color", "red"), want: reasons(verdict.PolicyDenied)},
		"Update":     {reason: "A rule compares with what was.", change: files("settings.yaml", lab.ConfigMap("settings", "color", "green")), want: reasons(verdict.PolicyDenied), says: "stays blue"},
		"Violation":  {reason: "The form of Gatekeeper.", change: web("replicas: 1", "replicas: 10"), want: reasons(verdict.PolicyDenied)},
		"Privileged": {reason: "The restricted pack.", change: web("allowPrivilegeEscalation: false", "privileged: true"), want: reasons(verdict.PolicyDenied)},
		"HostPaths":  {reason: "Several rules at once, each at its field.", change: web("      automountServiceAccountToken: false\n", "      hostNetwork: true\n      hostPID: true\n      volumes: [{name: root, hostPath: {path: /}}]\n"), want: reasons(verdict.PolicyDenied)},
		"Error":      {reason: "A rule that fails.", change: more("number", "many"), want: reasons(verdict.PolicyError)},
		"Undefined":  {reason: "A rule without an answer.", plan: under("violation := set() if not input.object.data.undefined"), change: more("undefined", "yes"), want: reasons(verdict.PolicyUndefined)},
		"WrongType":  {reason: "A rule that answers what is no finding.", plan: under("deny contains 7 if input.object.data.seven"), change: more("seven", "yes"), want: reasons(verdict.PolicyError)},
		"NoMessage":  {reason: "A rule that does not say what is wrong.", plan: under("deny contains {\"field\": \"data\"} if input.object.data.silent"), change: more("silent", "yes"), want: reasons(verdict.PolicyError)},
		"Conflict":   {reason: "A rule with two answers.", plan: under("level := 1 if input.object.data.two\n\nlevel := 2 if input.object.data.two\n\ndeny contains \"no\" if level > 0"), change: more("two", "yes"), want: reasons(verdict.PolicyError)},
		"Timeout": {reason: "A rule that does not end.", plan: under("deny contains \"no\" if {\n\tinput.object.data.bomb\n\tn := numbers.range(1, 1000)\n\tsome a in n\n\tsome b in n\n\tsome c in n\n\ta + b + c == 0\n}"),
			change: more("bomb", "yes"), want: reasons(verdict.PolicyTimeout)},
		"Range":        {reason: "A rule that asks for too much at once.", plan: under("deny contains \"no\" if {\n\tinput.object.data.bomb\n\tcount(numbers.range(1, 1000000000000)) > 1\n}"), change: more("bomb", "yes"), want: reasons(verdict.PolicyTimeout)},
		"TooMany":      {reason: "A rule that says too much.", plan: under("deny contains sprintf(\"%d\", [i]) if {\n\tinput.object.data.many\n\tsome i in numbers.range(1, 3000)\n}"), change: more("many", "yes"), want: reasons(verdict.LimitExceeded)},
		"Location":     {reason: "A finding at an element of a list.", plan: under("deny contains {\"msg\": \"no\", \"field\": sprintf(\"spec.template.spec.containers[%d].name\", [i])} if {\n\tsome i, c in input.object.spec.template.spec.containers\n\tc.name == \"app\"\n\tinput.object.spec.replicas == 2\n}"), change: web("replicas: 1", "replicas: 2"), want: reasons(verdict.PolicyDenied)},
		"OnlyWarn":     {reason: "A set that only warns.", plan: under("deny contains \"no\" if input.object.data.maybe", set(func(s *v1alpha1.PolicySetSpec) { s.Enforcement = "Warn" })), change: more("maybe", "yes"), want: reasons(verdict.PolicyDenied)},
		"Standing":     {reason: "What was warned of before is repeated by the reconciler, and by the check when it is asked for all.", plan: loud, all: true, change: harmless(), want: reasons(verdict.PolicyDenied)},
		"StandingAlso": {reason: "The check speaks of what changes if it is not.", plan: loud, change: more("color", "red"), want: reasons(verdict.PolicyDenied)},
		"All":          {reason: "Asked for all it finds no more where there is no more.", all: true, change: more("debug", "true"), want: reasons(verdict.PolicyDenied)},
		"Elsewhere": {reason: "A set for other namespaces.", plan: under("deny contains \"no\" if input.object.data.maybe", set(func(s *v1alpha1.PolicySetSpec) {
			s.Match = &v1alpha1.PolicyMatch{Namespaces: []string{"elsewhere"}}
		})), change: more("maybe", "yes")},
		"Kinds": {reason: "A set for one kind.", plan: under("deny contains \"no\"", set(func(s *v1alpha1.PolicySetSpec) {
			s.Match = &v1alpha1.PolicyMatch{Kinds: []v1alpha1.MatchKinds{{APIGroups: []string{""}, Kinds: []string{"Service"}}}}
		})), change: files("svc.yaml", service), want: reasons(verdict.PolicyDenied)},

		"Parameters": {reason: "Parameters of a set.", plan: under("deny contains sprintf(\"at most %d keys\", [input.parameters.most]) if count(input.object.data) > input.parameters.most", set(func(s *v1alpha1.PolicySetSpec) {
			s.Parameters = parameters(`{"most": 1}`)
			s.Match = &v1alpha1.PolicyMatch{Kinds: []v1alpha1.MatchKinds{{APIGroups: []string{""}, Kinds: []string{"ConfigMap"}}}}
		})), change: files("more.yaml", configMap("a: b\n  c: d")), want: reasons(verdict.PolicyDenied)},
		"Hundred": {reason: "Many findings, in one order.", change: hundred(), want: reasons(verdict.PolicyDenied)},
	}
}

// contextTrials are about what rules see beside the object.
func (w *world) contextTrials() map[string]trial {
	more := func(key, value string) gitrepo.Change { return files("more.yaml", lab.ConfigMap("more", key, value)) }
	return map[string]trial{
		"Commit": {reason: "Rules see the commit: its author, its signer, its paths.",
			plan:   under("deny contains sprintf(\"%s, signed by %s, changed %s\", [input.commit.author, concat(\",\", input.commit.signers), concat(\",\", sort(input.commit.paths))]) if input.object.data.who"),
			change: more("who", "me"), want: reasons(verdict.PolicyDenied), says: "signed by alice, changed deploy/more.yaml"},
		"Images": {reason: "Rules see who vouches for images.",
			plan:   under("warn contains sprintf(\"%s by %s\", [i.digest, concat(\",\", i.authorities)]) if some i in input.images"),
			change: files("web.yaml", lab.Deployment("web", w.images.web.Pinned(), 2)), want: reasons(verdict.PolicyDenied), says: "by release"},
		"Message": {reason: "And the message.", plan: under("deny contains \"no ticket\" if { input.object.data.ticket; not contains(input.commit.message, \"ACME-\") }"),
			change: more("ticket", "yes"), want: reasons(verdict.PolicyDenied)},
		"SecretShape": {reason: "Rules see secrets, and not their values.", plan: under("warn contains sprintf(\"%s: %s\", [k, v]) if { input.object.kind == \"Secret\"; some k, v in input.object.data }"),
			change: files("db.yaml", w.encrypted(lab.PlainSecret("db", "password", "hunter2"))), want: reasons(verdict.PolicyDenied), says: "password: (redacted)"},
	}
}

// deletionTrials are about what a commit deletes.
func (w *world) deletionTrials() map[string]trial {
	return map[string]trial{
		"Deleted":       {reason: "Rules see what is deleted.", change: files("kept.yaml", ""), want: reasons(verdict.PolicyDenied)},
		"Delete":        {reason: "Within the budget things may go.", change: files("spare.yaml", "")},
		"Budget":        {reason: "Over the budget they may not.", change: files("spare.yaml", "", "settings.yaml", ""), want: reasons(verdict.DeletionBudget)},
		"NoBudget":      {reason: "No deletion at all.", plan: budget(intstr.FromInt32(0)), change: files("spare.yaml", ""), want: reasons(verdict.DeletionBudget)},
		"Share":         {reason: "A share of what there is.", plan: budget(intstr.FromString("50%")), change: files("spare.yaml", "", "settings.yaml", "")},
		"Approved":      {reason: "A signed line approves.", change: message(files("spare.yaml", "", "settings.yaml", ""), "Tidy up\n\nGitgate-Approve-Deletions: 2\n")},
		"ApprovedLess":  {reason: "Of as many as it says.", plan: budget(intstr.FromInt32(0)), change: message(files("spare.yaml", "", "settings.yaml", ""), "Tidy up\n\nGitgate-Approve-Deletions: 1\n"), want: reasons(verdict.DeletionBudget)},
		"DeletedAndBad": {reason: "What a denied commit deletes is not asked of the cluster; the check says it all the same.", change: files("spare.yaml", "", "settings.yaml", "", "kept.yaml", "", "more.yaml", lab.ConfigMap("more", "debug", "true")), want: reasons(verdict.DeletionBudget, verdict.PolicyDenied)},
		"Renamed":       {reason: "A new name deletes the old object.", plan: budget(intstr.FromInt32(0)), change: files("spare.yaml", lab.ConfigMap("sparer", "k", "v")), want: reasons(verdict.DeletionBudget)},
		"NoPrune":       {reason: "Without pruning nothing is deleted.", plan: func(_ *site, p *plan) { no := false; p.sync.Spec.Prune = &no }, change: files("spare.yaml", "", "settings.yaml", "", "kept.yaml", "")},
		"Moved": {reason: "An object that moves to another file is no other object.", plan: budget(intstr.FromInt32(0)),
			change: files("spare.yaml", "", "elsewhere/spare.yaml", lab.ConfigMap("spare", "k", "v"))},
		"Untouched": {reason: "A commit that changes nothing that is rendered.", change: gitrepo.Change{Files: map[string]string{"README.md": "hello\n"}}},
	}
}

// loud is a plan with an object in force that a rule warns of.
func loud(_ *site, p *plan) { p.files["deploy/loud.yaml"] = lab.ConfigMap("loud", "color", "red") }

const service = "apiVersion: v1\nkind: Service\nmetadata: {name: svc}\nspec: {ports: [{port: 80}]}\n"

func message(c gitrepo.Change, text string) gitrepo.Change {
	c.Message = text
	return c
}

// hundred is a file with a hundred objects that two rules speak of.
func hundred() gitrepo.Change {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "---\n%s", edited(configMap("debug: \"true\"\n  color: red"), "name: more", fmt.Sprintf("name: more-%d", i)))
	}
	return files("more.yaml", b.String())
}
