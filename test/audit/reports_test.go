// Package audit tests what gitgate webhook tells of what is in the cluster already: the
// real binary, a real control plane, and a lock in force.
package audit

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// rule denies a ConfigMap that says who is to blame.
const rule = `package team
deny contains msg if {
	input.object.data.blame
	msg := sprintf("data.blame of %s names somebody", [input.object.metadata.name])
}
`

// patience bounds one step, on a machine that is busy.
const patience = 2 * time.Minute

func eventually(t *testing.T, what string, holds func(context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, holds); err != nil {
		t.Fatalf("%s: not within %s: %v", what, patience, err)
	}
}

// install creates the kinds of both formats of reports.
func install(t *testing.T, l *lab.Lab) {
	t.Helper()
	for _, file := range []string{"openreports.yaml", "wgpolicyk8s.yaml"} {
		raw, err := os.ReadFile(filepath.Join(lab.ModuleRoot(), "webhook", "audit", "testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range strings.Split(string(raw), "\n---\n") {
			var crd apiextensionsv1.CustomResourceDefinition
			if err := yaml.UnmarshalStrict([]byte(text), &crd); err != nil {
				t.Fatal(err)
			}
			if err := l.Client.Create(t.Context(), &crd); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// messages are what the reports of a kind say of an object.
func messages(ctx context.Context, c client.Client, apiVersion, kind, namespace, name string) (results []string, err error) {
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion(apiVersion)
	list.SetKind(kind + "List")
	if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	for _, u := range list.Items {
		if on, _, _ := unstructured.NestedString(u.Object, "scope", "name"); on != name {
			continue
		}
		found, _, _ := unstructured.NestedSlice(u.Object, "results")
		for _, v := range found {
			m := v.(map[string]any)
			message, _ := m["message"].(string)
			results = append(results, m["result"].(string)+" "+m["policy"].(string)+"/"+m["rule"].(string)+" "+message)
		}
	}
	return results, nil
}

// TestPolicyReports has objects judged that were there before the rule: in words that
// admission uses, in both formats, in a namespace that a lock keeps closed.
func TestPolicyReports(t *testing.T) {
	l := lab.New(t, lab.Options{Gitgate: binary(t), Cluster: cluster.Options{ControllerManager: true}})
	install(t, l)
	if _, err := l.Serve(t.Context(), lab.LockArgs()...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	app, err := l.NewApp(ctx, "harbor", func(_ *v1alpha1.TrustPolicy, s *v1alpha1.GitSync) {
		s.Spec.Lock = &v1alpha1.Lock{Mode: v1alpha1.ModeEnforce, Namespaces: []string{"harbor"}}
	})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"deploy/blamed.yaml": lab.ConfigMap("blamed", "blame", "bob"), "deploy/fine.yaml": lab.ConfigMap("fine", "mode", "safe"),
	}
	hash, err := app.Commit(gitrepo.Change{Files: files})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := app.Accepted(ctx, hash); err != nil {
		t.Fatal(err)
	}
	if err := l.EnsureNamespace(ctx, "field"); err != nil {
		t.Fatal(err)
	}
	before := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "field", Name: "before"}, Data: map[string]string{"blame": "bob"}}
	if err := l.Client.Create(ctx, before); err != nil {
		t.Fatal(err)
	}
	set := &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: "blameless"}, Spec: v1alpha1.PolicySetSpec{
		Source: v1alpha1.PolicySource{Inline: map[string]string{"team.rego": rule}}, Admission: v1alpha1.ModeEnforce,
		Match: &v1alpha1.PolicyMatch{Kinds: []v1alpha1.MatchKinds{{APIGroups: []string{""}, Kinds: []string{"ConfigMap"}}}, Namespaces: []string{"harbor", "field"}},
	}}
	if err := l.Client.Create(ctx, set); err != nil {
		t.Fatal(err)
	}
	w, err := l.ServeWebhook(ctx, "one", "--policy-reports")
	if err != nil {
		t.Fatal(err)
	}

	// What admission says of a new object.
	after := before.DeepCopy()
	after.ResourceVersion, after.UID, after.Name = "", "", "after"
	const said = "data.blame of after names somebody"
	eventually(t, "admission refuses", func(ctx context.Context) (bool, error) {
		err := l.Client.Create(ctx, after.DeepCopy(), client.DryRunAll)
		return apierrors.IsForbidden(err) && strings.Contains(err.Error(), said), nil
	})
	// What reports say of those that are there.
	for _, on := range []struct{ namespace, name, want string }{
		{"field", "before", "fail blameless/team.deny " + strings.Replace(said, "after", "before", 1)},
		{"harbor", "blamed", "fail blameless/team.deny " + strings.Replace(said, "after", "blamed", 1)},
		{"harbor", "fine", "pass blameless/team.deny "},
	} {
		for _, format := range [][2]string{{"openreports.io/v1alpha1", "Report"}, {"wgpolicyk8s.io/v1alpha2", "PolicyReport"}} {
			eventually(t, format[1]+" on "+on.namespace+"/"+on.name, func(ctx context.Context) (bool, error) {
				got, err := messages(ctx, l.Client, format[0], format[1], on.namespace, on.name)
				return len(got) == 1 && got[0] == on.want, err
			})
		}
	}
	eventually(t, "the reports in a closed namespace are no strays", func(ctx context.Context) (bool, error) {
		var s v1alpha1.GitSync
		err := l.Client.Get(ctx, app.Key, &s)
		return s.Status.Lock != nil && s.Status.Lock.Strays != nil && s.Status.Lock.Strays.Total == 0, err
	})
	eventually(t, "metrics", func(ctx context.Context) (bool, error) {
		text, err := w.Scrape(ctx)
		return strings.Contains(text, `gitgate_policy_audit_results{policyset="blameless",result="fail"} 2`), err
	})
}
