package parity

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
	"gitgate.dev/gitgate/webhook"
)

// admitted is the namespace in which rules judge at admission what nobody declares
// in Git.
const admitted = "admitted"

// doorRules are the sets that judge commits and admissions alike: the rules of the
// house and the restricted pack, for one namespace.
func doorRules() []*v1alpha1.PolicySet {
	house, pods := houseRules(), &v1alpha1.PolicySet{
		ObjectMeta: metav1.ObjectMeta{Name: "pods"},
		Spec:       v1alpha1.PolicySetSpec{Source: v1alpha1.PolicySource{Library: []string{"pod-security-restricted"}}},
	}
	house.Name = "door"
	for _, s := range []*v1alpha1.PolicySet{house, pods} {
		s.Spec.Admission = v1alpha1.ModeEnforce
		s.Spec.Match = &v1alpha1.PolicyMatch{Namespaces: []string{admitted}}
	}
	return []*v1alpha1.PolicySet{house, pods}
}

// TestWebhook proves that what rules say of an object that somebody creates by hand
// is what gitgate check says of a commit that brings the same object.
func TestWebhook(t *testing.T) {
	w := begin(t)
	w.openDoor(t)
	for name, tc := range w.objects() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			name := "door-" + strings.ToLower(name)
			manifest := edited(tc.manifest, "name: "+tc.name, "name: "+name)
			s := w.newSite(t, name, func(_ *site, p *plan) {
				p.fresh, p.sync.Spec.TargetNamespace, p.sync.Spec.Policies = true, admitted, nil
				for _, set := range doorRules() {
					p.sync.Spec.Policies = append(p.sync.Spec.Policies, v1alpha1.LocalReference{Name: set.Name})
				}
				p.known = doorRules()
			})
			check, stderr := s.check(s.commit(gitrepo.Change{Files: files("object.yaml", manifest).Files}))
			if stderr != "" {
				t.Fatalf("%s\ngitgate check judged nothing: %s", tc.reason, stderr)
			}
			want := withoutPlace(t, check, tc.elsewhere)
			if len(want) == 0 != tc.passes {
				t.Errorf("%s\nthe check finds\n%s", tc.reason, texts(check.Findings))
			}
			if diff := cmp.Diff(want, s.admission(manifest)); diff != "" {
				t.Errorf("%s\nthe doors differ (-check +webhook)\n%s", tc.reason, diff)
			}
			if r := s.replay(s.decisions, created(name)); r.Same == 0 || r.Different+r.NotReplayed > 0 {
				t.Errorf("%s\nmade again: %d the same, %d differ, %d not replayed: %s", tc.reason, r.Same, r.Different, r.NotReplayed, r.differences())
			}
			s.plan.known[0].Spec.Source.Inline = map[string]string{"other.rego": "package other\n\ndeny contains \"nothing passes\" if input.object.metadata.name\n"}
			if r := s.replay(s.decisions, created(name)); r.Different == 0 || r.Same+r.NotReplayed > 0 || !strings.Contains(r.differences(), "nothing passes") {
				t.Errorf("%s\nunder other rules: %d the same, %d differ, %d not replayed: %s", tc.reason, r.Same, r.Different, r.NotReplayed, r.differences())
			}
		})
	}
}

// An object is a manifest that goes through both doors.
type object struct {
	reason, name, manifest string
	passes                 bool // nothing is found
	// elsewhere are reasons of findings that rules do not make: the webhook asks no
	// registry and decrypts nothing.
	elsewhere []verdict.Reason
}

// objects are what is created by hand.
func (w *world) objects() map[string]object {
	web := lab.Deployment("web", w.images.web.Pinned(), 1)
	out := map[string]object{
		"Good":       {"Nothing is wrong.", "web", web, true, nil},
		"GoodMap":    {"Nor here.", "more", configMap("k: v"), true, nil},
		"Denied":     {"A rule denies.", "more", configMap("debug: \"true\""), false, nil},
		"Warned":     {"A rule warns.", "more", configMap("color: red"), false, nil},
		"Both":       {"Both at once.", "more", configMap("debug: \"true\"\n  color: red"), false, nil},
		"Error":      {"A rule fails.", "more", configMap("number: many"), false, nil},
		"Number":     {"A rule counts.", "more", configMap("number: \"11\""), false, nil},
		"Replicas":   {"The form of Gatekeeper.", "web", edited(web, "replicas: 1", "replicas: 10"), false, nil},
		"Cron":       {"Templates of templates.", "job", edited(cronJob(w.images.web.Pinned()), "runAsNonRoot: true, ", ""), false, nil},
		"Secret":     {"Rules see secrets, and not their values.", "db", lab.PlainSecret("db", "debug", "true"), true, []verdict.Reason{verdict.PlaintextSecret}},
		"TwoReasons": {"Two sets at once.", "web", edited(edited(web, "replicas: 1", "replicas: 10"), "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"), false, nil},
	}
	for name, change := range map[string][2]string{
		"Privileged":   {"allowPrivilegeEscalation: false", "privileged: true"},
		"Escalation":   {"            allowPrivilegeEscalation: false\n", ""},
		"Capabilities": {"capabilities: {drop: [ALL]}", "capabilities: {add: [SYS_ADMIN]}"},
		"Root":         {"        runAsNonRoot: true\n", ""},
		"Seccomp":      {"        seccompProfile: {type: RuntimeDefault}\n", "        seccompProfile: {type: Unconfined}\n"},
		"HostNetwork":  {"      automountServiceAccountToken: false\n", "      hostNetwork: true\n"},
		"HostPID":      {"      automountServiceAccountToken: false\n", "      hostPID: true\n      hostIPC: true\n"},
		"HostPath":     {"      automountServiceAccountToken: false\n", "      volumes: [{name: root, hostPath: {path: /}}]\n"},
		"HostPort":     {"          securityContext:\n", "          ports: [{containerPort: 80, hostPort: 80}]\n          securityContext:\n"},
		"Sysctl":       {"        runAsNonRoot: true\n", "        runAsNonRoot: true\n        sysctls: [{name: kernel.msgmax, value: \"1\"}]\n"},
	} {
		out[name] = object{"The restricted pack: " + name, "web", edited(web, change[0], change[1]), false, nil}
	}
	return out
}

// withoutPlace takes off of what the check finds where in Git it is, which the
// webhook cannot know, and puts it in the order that it has without; and it leaves out
// that no API server was asked, and what others than rules say.
func withoutPlace(t *testing.T, r ruling, elsewhere []verdict.Reason) []string {
	t.Helper()
	var out []verdict.Finding
	for _, raw := range r.Findings {
		f := decoded(t, raw)
		if f.Reason != verdict.DryRunSkipped && !slices.Contains(elsewhere, f.Reason) {
			f.File, f.Line = "", 0
			out = append(out, f)
		}
	}
	verdict.Sort(out)
	return lines(t, out)
}

// openDoor starts the webhook with the rules, and waits until it judges.
func (w *world) openDoor(t *testing.T) {
	t.Helper()
	if w.decisions != "" {
		return // for another test
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, "the namespace", w.EnsureNamespace(ctx, admitted))
	for _, set := range doorRules() {
		must(t, "the rules", w.Client.Create(ctx, set))
	}
	door, err := w.ServeWebhook(ctx, "one", "--log-allowed", "--log-objects")
	must(t, "the webhook", err)
	w.decisions = door.Decisions
	w.refusedAtDoor(ctx, t, edited(configMap("debug: \"true\""), "name: more", "name: probe"), "")
}

// refusedAtDoor waits until the webhook refuses an object in these words.
func (w *world) refusedAtDoor(ctx context.Context, t *testing.T, manifest, says string) {
	t.Helper()
	probe := parsed(t, manifest)
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		err := w.Client.Create(ctx, probe.DeepCopy(), client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), says), nil
	})
	must(t, "the webhook to judge", err)
}

// admission creates an object by hand, as a dry run, and returns what the webhook
// found, from its decision log.
func (s *site) admission(manifest string) []string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	o := parsed(s.t, manifest)
	refused := s.Client.Create(ctx, o.DeepCopy(), client.DryRunAll)
	var d *webhook.Decision
	err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(context.Context) (done bool, err error) {
		d, err = s.admissionOf(o)
		return d != nil, err
	})
	must(s.t, "the decision of the webhook", err)
	if d.Allowed != (refused == nil) {
		s.t.Errorf("the webhook says that it allows: %t, and the API server %v", d.Allowed, refused)
	}
	return lines(s.t, d.Findings)
}

func lines(t *testing.T, findings []verdict.Finding) (out []string) {
	t.Helper()
	for _, f := range findings {
		text, err := json.Marshal(f)
		must(t, "a finding", err)
		out = append(out, string(text))
	}
	return out
}

// admissionOf finds the last decision on an object.
func (s *site) admissionOf(o *unstructured.Unstructured) (found *webhook.Decision, err error) {
	log, err := os.ReadFile(s.decisions)
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(log) {
		if !bytes.HasSuffix(line, []byte("\n")) || !bytes.Contains(line, []byte(o.GetName())) {
			continue
		}
		var d webhook.Decision
		if err := json.Unmarshal(line, &d); err != nil {
			return nil, err
		}
		if d.Namespace == admitted && d.Name == o.GetName() && d.Kind == o.GetKind() && d.DryRun {
			found = &d
		}
	}
	return found, nil
}

func parsed(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	var u unstructured.Unstructured
	must(t, "the manifest", yaml.Unmarshal([]byte(manifest), &u.Object))
	u.SetNamespace(admitted)
	return &u
}

// created is what the decision log says of an object that somebody creates.
func created(name string) string { return `"namespace":"` + admitted + `","name":"` + name + `"` }
