package parity

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// tutorial are the files that policies/README.md has its reader write, by their name.
func tutorial(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "policies", "README.md"))
	must(t, "the page", err)
	out := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)\n   ```(?:rego|yaml)\n   # ([a-z_/.]+)\n(.*?)\n   ```").FindAllStringSubmatch(string(page), -1) {
		out[m[1]] = strings.ReplaceAll(strings.TrimPrefix(m[2], "   "), "\n   ", "\n") + "\n"
	}
	return out
}

// TestTenMinutes follows policies/README.md from zero to a tested rule: it denies in CI,
// in the reconciler and at admission, in one text.
func TestTenMinutes(t *testing.T) {
	w := begin(t)
	w.openDoor(t)
	files, dir := tutorial(t), t.TempDir()
	must(t, "a directory", os.Mkdir(filepath.Join(dir, "rules"), 0o700))
	manifest := edited(configMap("k: v"), "name: more", "name: team")
	files["deploy.yaml"], files["parameters.yaml"] = manifest, "exempt: [Namespace]\n"
	for name, content := range files {
		must(t, name, writeFile(dir, name, content))
	}
	const says = "this ConfigMap has no label team: add one"
	run := func(want int, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), w.Gitgate, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
			t.Fatalf("gitgate %s: %v, want exit code %d\n%s", strings.Join(args, " "), err, want, out)
		}
		return string(out)
	}
	if out := run(0, "policy", "test", "rules/"); !strings.Contains(out, "2") {
		t.Errorf("the tests:\n%s", out)
	}
	if out := run(1, "policy", "eval", "deploy.yaml", "--policy", "rules/", "--parameters", "parameters.yaml"); !strings.Contains(out, says) {
		t.Errorf("the rule on its own:\n%s", out)
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	rules := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "team-rules", Namespace: lab.SystemNamespace}, Data: map[string]string{}}
	for name, content := range files {
		if file, ok := strings.CutPrefix(name, "rules/"); ok {
			rules.Data[file] = content
		}
	}
	must(t, "the rules", w.Client.Create(ctx, rules.DeepCopy()))
	var set v1alpha1.PolicySet
	must(t, "the set", yaml.UnmarshalStrict([]byte(edited(files["policyset.yaml"], "shop", admitted)), &set))
	must(t, "the set", w.Client.Create(ctx, set.DeepCopy()))
	set.TypeMeta = metav1.TypeMeta{} // the others have none
	w.refusedAtDoor(ctx, t, edited(manifest, "name: team", "name: team-probe"), says)

	s := w.newSite(t, "team-site", func(_ *site, p *plan) {
		p.fresh, p.sync.Spec.TargetNamespace, p.sync.Spec.Policies = true, admitted, []v1alpha1.LocalReference{{Name: set.Name}}
		p.known, p.more = append(p.known, &set), append(p.more, rules)
	})
	head := s.commit(gitrepo.Change{Files: map[string]string{"deploy/object.yaml": manifest}})
	check, stderr := s.check(head)
	if stderr != "" {
		t.Fatalf("gitgate check: %s", stderr)
	}
	reconciler, _ := s.reconcile(head)
	(trial{reason: "The rule of the page.", want: reasons(verdict.PolicyDenied), says: says}).judge(t, check, reconciler)
	if diff := cmp.Diff(withoutPlace(t, check, nil), ofSet(s.admission(manifest), set.Name)); diff != "" {
		t.Errorf("the doors differ (-check +webhook)\n%s", diff)
	}
	w.retire(ctx, t, &set, edited(manifest, "name: team", "name: team-probe"))
}

// retire removes a set, and waits until an object passes the webhook: other tests use
// the namespace.
func (w *world) retire(ctx context.Context, t *testing.T, set *v1alpha1.PolicySet, manifest string) {
	t.Helper()
	must(t, "the end of the set", w.Client.Delete(ctx, set))
	must(t, "the webhook to forget it", wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		return w.Client.Create(ctx, parsed(t, manifest), client.DryRunAll) == nil, nil
	}))
}

// ofSet are the findings of one set; others judge at the door as well.
func ofSet(findings []string, set string) (out []string) {
	for _, f := range findings {
		if strings.Contains(f, `"policy":"`+set+`/`) {
			out = append(out, f)
		}
	}
	return out
}
