package audit

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// excepted commits an exception with an end and returns the commit when it is applied, or
// nothing if it came too late.
func excepted(ctx context.Context, t *testing.T, app *lab.App, end time.Time) string {
	t.Helper()
	hash, err := app.Commit(gitrepo.Change{Files: map[string]string{"deploy/exceptions/blame.yaml": fmt.Sprintf(`apiVersion: gitgate.dev/v1alpha1
kind: PolicyException
metadata: {name: blame}
spec:
  policies: [{policySet: blameless, rules: [team.deny]}]
  match: {kinds: [{kind: ConfigMap}], namespaces: [harbor, field], names: [blamed, guest]}
  owner: team-harbor
  reason: the records of last year
  expires: %q
`, end.UTC().Format(time.RFC3339))}})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Poke(ctx, app.Key); err != nil {
		t.Fatal(err)
	}
	s, err := app.Await(ctx, app.Key, func(s *v1alpha1.GitSync) bool {
		return strings.HasSuffix(s.Status.LastAppliedRevision, hash.String()) || s.Status.LastVerdict != nil && strings.HasSuffix(s.Status.LastVerdict.Revision, hash.String()) && !s.Status.LastVerdict.Allowed
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(s.Status.LastAppliedRevision, hash.String()) {
		return ""
	}
	return hash.String()
}

// TestExceptionEnds: what a PolicyException in Git covers may be written, is skipped in
// reports, and is applied. When it ends, with nobody doing anything: the write is
// refused, the report says fail, and the GitSync that needed it is not Ready and keeps
// what runs.
func TestExceptionEnds(t *testing.T) {
	l := lab.New(t, lab.Options{Gitgate: binary(t), Cluster: cluster.Options{ControllerManager: true}})
	install(t, l)
	server, err := l.Serve(t.Context(), lab.LockArgs()...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	set := &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: "blameless"}, Spec: v1alpha1.PolicySetSpec{
		Source: v1alpha1.PolicySource{Inline: map[string]string{"team.rego": rule}}, Admission: v1alpha1.ModeEnforce,
		Match: &v1alpha1.PolicyMatch{Kinds: []v1alpha1.MatchKinds{{APIGroups: []string{""}, Kinds: []string{"ConfigMap"}}}, Namespaces: []string{"harbor", "field"}},
	}}
	if err := l.Client.Create(ctx, set); err != nil {
		t.Fatal(err)
	}
	app, err := l.NewApp(ctx, "harbor", func(p *v1alpha1.TrustPolicy, s *v1alpha1.GitSync) {
		p.Spec.Exceptions = &v1alpha1.ExceptionTrust{Paths: []string{"deploy/exceptions/**"}, Signers: []string{"alice"}}
		s.Spec.Policies = append(s.Spec.Policies, v1alpha1.LocalReference{Name: "blameless"})
		s.Spec.Lock = &v1alpha1.Lock{Mode: v1alpha1.ModeEnforce}
		s.Spec.Interval = &metav1.Duration{Duration: time.Hour} // nobody else asks in the meantime
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.EnsureNamespace(ctx, "field"); err != nil {
		t.Fatal(err)
	}
	w, err := l.ServeWebhook(ctx, "one", "--policy-reports")
	if err != nil {
		t.Fatal(err)
	}
	guest := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "field", Name: "guest"}, Data: map[string]string{"blame": "bob"}}
	refused := func(says string) func(context.Context) (bool, error) {
		return func(ctx context.Context) (bool, error) {
			err := l.Client.Patch(ctx, guest.DeepCopy(), client.RawPatch(types.ApplyPatchType, []byte(
				`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"guest","namespace":"field"},"data":{"blame":"carol"}}`)), client.FieldOwner("test"), client.ForceOwnership, client.DryRunAll)
			return apierrors.IsForbidden(err) && strings.Contains(err.Error(), says), nil
		}
	}
	eventually(t, "without an exception it is refused", refused("data.blame of guest names somebody"))

	if _, err := app.Commit(gitrepo.Change{Files: map[string]string{"deploy/blamed.yaml": lab.ConfigMap("blamed", "blame", "bob")}}); err != nil {
		t.Fatal(err)
	}
	excepted(ctx, t, app, time.Now().Add(30*24*time.Hour))
	eventually(t, "with the exception it is allowed", func(ctx context.Context) (bool, error) {
		return l.Client.Create(ctx, guest.DeepCopy()) == nil, nil
	})
	reported := func(result string) {
		t.Helper()
		for _, on := range [][2]string{{"field", "guest"}, {"harbor", "blamed"}} {
			for _, format := range [][2]string{{"openreports.io/v1alpha1", "Report"}, {"wgpolicyk8s.io/v1alpha2", "PolicyReport"}} {
				eventually(t, result+" on "+on[1], func(ctx context.Context) (bool, error) {
					got, err := messages(ctx, l.Client, format[0], format[1], on[0], on[1])
					return len(got) == 1 && strings.HasPrefix(got[0], result+" blameless/team.deny data.blame of "+on[1]+" names somebody ("), err
				})
			}
		}
	}
	reported("skip")

	// It ends sooner now. A machine that is so busy that the end has come before anybody
	// looked gets more time.
	var end time.Time
	var hash string
	for life := 15 * time.Second; hash == ""; life *= 2 {
		end = time.Now().Add(life).Truncate(time.Second)
		hash = excepted(ctx, t, app, end)
	}
	eventually(t, "after its end it is refused", refused("it expired "+end.UTC().Format(time.RFC3339)))
	reported("fail")
	s, err := app.Await(ctx, app.Key, func(s *v1alpha1.GitSync) bool {
		return lab.Ready(s).Status == metav1.ConditionFalse && lab.Ready(s).Reason == "PolicyDenied"
	})
	if err != nil {
		t.Fatal(err)
	}
	if ready := lab.Ready(s); !strings.Contains(ready.Message, "names somebody") || !strings.HasSuffix(s.Status.LastAppliedRevision, hash) {
		t.Errorf("Ready is %+v, the last applied revision %s", ready, s.Status.LastAppliedRevision)
	}
	var blamed corev1.ConfigMap
	if err := l.Client.Get(ctx, client.ObjectKey{Namespace: "harbor", Name: "blamed"}, &blamed); err != nil {
		t.Errorf("what runs was taken away: %v", err)
	}
	for what, metrics := range map[string]struct {
		scrape func(context.Context) (string, error)
		want   string
	}{
		"reconciler": {server.Scrape, `gitgate_policy_exceptions{name="harbor",namespace="gitgate-system",state="expired"} 1`},
		"webhook":    {w.Scrape, `gitgate_admission_policy_exceptions{state="expired"} 1`},
	} {
		eventually(t, "the "+what+" counts it", func(ctx context.Context) (bool, error) {
			text, err := metrics.scrape(ctx)
			return strings.Contains(text, metrics.want), err
		})
	}
}
