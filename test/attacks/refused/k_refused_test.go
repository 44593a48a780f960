package refused

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// TestAttack_K35_RefusedRevision has what is applied refused by what comes after it, and
// replicas started since. None of them opens, whatever a status says.
func TestAttack_K35_RefusedRevision(t *testing.T) {
	s := newSite(t)
	applied := reconcile.Revision(lab.Branch, s.head(t))

	s.unlocked(t, false, func(ctx context.Context) { s.rule(ctx, t, modes("evil", "safe")) })
	t.Run("Remembered", func(t *testing.T) { s.whole(t, "is in mode safe"); s.says(t, "remembered=true") })
	t.Run("OtherPath", func(t *testing.T) { s.otherPath(t) })
	s.unlocked(t, true, func(context.Context) {})
	t.Run("LostDisk", func(t *testing.T) { s.whole(t, "is in mode safe"); s.says(t, "remembered=false") })

	must(t, s.Server().Stop()) // from now on nobody puts anything right
	t.Run("Drifted", func(t *testing.T) { s.drifted(t) })
	t.Run("Suspended", func(t *testing.T) {
		s.unlocked(t, true, func(ctx context.Context) { s.spec(ctx, t, func(g *v1alpha1.GitSyncSpec) { g.Suspend = true }) })
		s.holds(t, "is in mode safe")
		s.refused(t, verdict.ContentMismatch, settings(), mode("evil"))
		s.reborn(t)
		s.unlocked(t, true, func(ctx context.Context) { s.spec(ctx, t, func(g *v1alpha1.GitSyncSpec) { g.Suspend = false }) })
	})
	t.Run("ForgedQuarantined", func(t *testing.T) { s.quarantined(t) })
	t.Run("ForgedUnsigned", func(t *testing.T) { s.unsigned(t) })
	t.Run("ForgedNothing", func(t *testing.T) {
		s.unlocked(t, true, func(ctx context.Context) { s.forge(ctx, t, "") })
		s.refused(t, verdict.ContentMismatch, settings(), mode("evil"))
		s.kept(t, web())
		s.reborn(t)
	})
	t.Run("SignerRemoved", func(t *testing.T) {
		s.unlocked(t, true, func(ctx context.Context) {
			s.forge(ctx, t, applied)
			s.trust(ctx, t, func(p *v1alpha1.TrustPolicySpec) {
				p.Commits.Signers = p.Commits.Signers[1:]
				p.Commits.Rules, p.Exceptions = nil, nil
			})
		})
		s.holds(t, string(verdict.UntrustedSigner))
		s.refused(t, verdict.ContentMismatch, settings(), mode("evil"))
		s.refused(t, verdict.UndeclaredField, web(), evilImage)
		s.reborn(t)
		s.unlocked(t, true, func(ctx context.Context) {
			s.trust(ctx, t, func(p *v1alpha1.TrustPolicySpec) { *p = s.trusted })
		})
		s.holds(t, "is in mode safe")
	})

	t.Run("ImageKeyRemoved", func(t *testing.T) {
		s.unlocked(t, true, func(ctx context.Context) {
			s.trust(ctx, t, func(p *v1alpha1.TrustPolicySpec) { p.Images.Rules[0].Authorities[0].Key.Data = s.strange })
		})
		s.holds(t, string(verdict.ImageUntrusted), "Deployment reef/tagged") // which digest it ought to run is not known
		s.refused(t, verdict.UndeclaredField, web(), evilImage)
		s.refused(t, verdict.RevisionRefused, object(web().GroupVersionKind(), reef, "tagged"), evilImage)
		s.reborn(t, "tagged")
		s.unlocked(t, true, func(ctx context.Context) {
			s.trust(ctx, t, func(p *v1alpha1.TrustPolicySpec) { *p = s.trusted })
		})
	})

	_, err := s.Serve(t.Context(), lab.LockArgs()...)
	must(t, err)
	t.Run("TakenOver", func(t *testing.T) {
		s.release(t, map[string]string{"deploy/settings.yaml": lab.ConfigMap("settings", "mode", "calm")})
		s.passes(t)
		// As with every revision, the former one counts until the status says so.
		eventually(t, "the former mode to be refused", func(context.Context) error {
			if err := s.patched(t, settings(), mode("safe"), client.DryRunAll); !apierrors.IsForbidden(err) {
				return fmt.Errorf("it got %v", err)
			}
			return nil
		})
		s.refused(t, verdict.ContentMismatch, settings(), mode("safe"))
		s.refused(t, verdict.UndeclaredField, web(), evilImage)
	})
	t.Run("ExceptionEnded", func(t *testing.T) { s.excepted(t) })
}

// whole fails unless everything is held as if the revision passed.
func (s *site) whole(t *testing.T, why string) {
	t.Helper()
	s.holds(t, why)
	s.refused(t, verdict.ContentMismatch, settings(), mode("evil"))
	s.refused(t, verdict.UndeclaredField, settings(), `{"data":{"more":"1"}}`)
	s.refused(t, verdict.UndeclaredField, web(), evilImage)
	s.scaled(t, web())
	s.kept(t, settings())
	s.refused(t, verdict.ContentMismatch, secret(), `{"data":{"password":"ZXZpbA=="}}`)
	s.reborn(t)
	// The reconciler, which has run on, puts right what came past the API server.
	key := "/registry/configmaps/reef/settings"
	stored, err := s.Cluster.EtcdGet(t.Context(), key)
	must(t, err)
	evil := bytes.Replace(stored, []byte(`"mode":"safe"`), []byte(`"mode":"past"`), 1)
	if bytes.Equal(evil, stored) {
		t.Fatalf("etcd holds no JSON to edit: %.80q", stored)
	}
	must(t, s.Cluster.EtcdPut(t.Context(), key, evil))
	eventually(t, "the settings to be put right", func(ctx context.Context) error { return s.mode(ctx, "safe") })
}

// otherPath has the GitSync name another directory of the revision, which was never let
// pass: that the revision was does not count for it.
func (s *site) otherPath(t *testing.T) {
	s.unlocked(t, false, func(ctx context.Context) { s.spec(ctx, t, func(g *v1alpha1.GitSyncSpec) { g.Path = "elsewhere" }) })
	s.holds(t, "is in mode evil", "ConfigMap reef/settings", "Deployment reef/tagged", "Deployment reef/web", "Secret reef/credentials")
	s.refused(t, verdict.RevisionRefused, settings(), mode("evil"))
	s.refused(t, verdict.RevisionRefused, web(), evilImage)
	s.refused(t, verdict.RevisionRefused, secret(), `{"data":{"password":"ZXZpbA=="}}`)
	s.reborn(t)
	s.unlocked(t, false, func(ctx context.Context) { s.spec(ctx, t, func(g *v1alpha1.GitSyncSpec) { g.Path = "deploy" }) })
	s.holds(t, "is in mode safe")
}

// drifted fails unless what differs from the revision stays as it is, and nothing else
// is the worse for it.
func (s *site) drifted(t *testing.T) {
	s.unlocked(t, true, func(context.Context) { must(t, s.patched(t, settings(), mode("drift"))) })
	s.holds(t, "is in mode safe", "ConfigMap reef/settings")
	s.refused(t, verdict.RevisionRefused, settings(), mode("evil"))
	s.refused(t, verdict.RevisionRefused, settings(), mode("safe")) // nobody vouches for that either
	s.refused(t, verdict.RevisionRefused, settings(), `{"metadata":{"labels":{"gitgate.dev/name":null}}}`)
	s.kept(t, settings())
	s.refused(t, verdict.UndeclaredField, web(), evilImage)
	s.reborn(t)
	s.unlocked(t, true, func(context.Context) { must(t, s.patched(t, settings(), mode("safe"))) })
	s.holds(t, "is in mode safe")
}

// quarantined has the status, and the branch, name a signed revision that was never let
// pass: nothing of it may come to be.
func (s *site) quarantined(t *testing.T) {
	good := s.head(t)
	hash, err := s.app.Commit(gitrepo.Change{Delete: []string{"deploy/web.yaml"}, Files: map[string]string{
		"deploy/settings.yaml": lab.ConfigMap("settings", "mode", "evil"), "deploy/planted.yaml": lab.ConfigMap("planted", "mode", "evil"),
	}})
	must(t, err)
	s.unlocked(t, true, func(ctx context.Context) { s.forge(ctx, t, reconcile.Revision(lab.Branch, hash)) })
	s.holds(t, "is in mode evil", "ConfigMap reef/planted", "ConfigMap reef/settings", "Deployment reef/web")
	s.refused(t, verdict.RevisionRefused, settings(), mode("evil"))
	s.refused(t, verdict.RevisionRefused, web(), evilImage)
	s.kept(t, web())
	planted := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: reef, Name: "planted", Labels: map[string]string{
		"gitgate.dev/name": reef, "gitgate.dev/namespace": lab.SystemNamespace}}, Data: map[string]string{"mode": "evil"}}
	s.denied(t, verdict.RevisionRefused, "what the quarantined revision adds", s.Client.Create(t.Context(), planted))
	s.reborn(t)
	s.unlocked(t, false, func(context.Context) {}) // nor does the replica come to believe itself
	s.refused(t, verdict.RevisionRefused, settings(), mode("evil"))
	must(t, s.app.Reset(good))
}

// unsigned has both name what nobody trusted signed: it frees nothing, and stops nobody
// elsewhere.
func (s *site) unsigned(t *testing.T) {
	good := s.head(t)
	bystander := object(corev1.SchemeGroupVersion.WithKind("ConfigMap"), other, "bystander")
	bystander.Object["data"] = map[string]any{"mode": "safe"}
	must(t, s.Client.Create(t.Context(), bystander.DeepCopy()))
	hash, err := s.app.Commit(gitrepo.Change{Author: s.Mallory.Person(), Sign: s.Mallory, Delete: []string{"deploy/web.yaml"}, Files: map[string]string{
		"deploy/settings.yaml":  lab.ConfigMap("settings", "mode", "evil"),
		"deploy/bystander.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bystander, namespace: other}\ndata: {mode: evil}\n",
	}})
	must(t, err)
	s.unlocked(t, true, func(ctx context.Context) { s.forge(ctx, t, reconcile.Revision(lab.Branch, hash)) })
	s.holds(t, string(verdict.UntrustedSigner), "ConfigMap reef/settings", "Deployment reef/web")
	s.refused(t, verdict.RevisionRefused, settings(), mode("evil"))
	s.refused(t, verdict.RevisionRefused, web(), evilImage)
	s.reborn(t)
	if err := s.patched(t, bystander, mode("mine")); err != nil {
		t.Errorf("an object that is nobody's: %v", err)
	}
	must(t, s.app.Reset(good))
}

// excepted lets an exception end by which a revision passed.
func (s *site) excepted(t *testing.T) {
	exception := func(end time.Time) map[string]string {
		return map[string]string{
			"deploy/settings.yaml": lab.ConfigMap("settings", "mode", "safe"),
			"deploy/exceptions/safe.yaml": fmt.Sprintf(`apiVersion: gitgate.dev/v1alpha1
kind: PolicyException
metadata: {name: safe}
spec:
  policies: [{policySet: modes, rules: [team.deny]}]
  match: {kinds: [{kind: ConfigMap}], namespaces: [reef], names: [settings]}
  owner: team-reef
  reason: for a moment
  expires: %q
`, end.UTC().Format(time.RFC3339)),
		}
	}
	end := time.Now().Add(30 * time.Second)
	s.release(t, exception(end))
	time.Sleep(time.Until(end.Add(time.Second)))
	s.unlocked(t, true, func(context.Context) {})
	s.holds(t, "is in mode safe")
	s.refused(t, verdict.ContentMismatch, settings(), mode("evil"))
	s.refused(t, verdict.UndeclaredField, web(), evilImage)
	s.reborn(t)
	s.release(t, exception(time.Now().Add(time.Hour)))
	s.passes(t)
	s.refused(t, verdict.ContentMismatch, settings(), mode("evil"))
}

// passes fails unless the replica comes to hold a revision that passes.
func (s *site) passes(t *testing.T) {
	t.Helper()
	eventually(t, "a revision that passes", func(ctx context.Context) error {
		return s.lockStatus(ctx, func(r v1alpha1.LockReplica) error {
			if r.Refused != "" || r.Frozen != 0 || len(r.FrozenObjects) > 0 {
				return fmt.Errorf("refused %q, frozen %q", r.Refused, r.FrozenObjects)
			}
			return nil
		})
	})
	s.metric(t, "gitgate_lock_refused_gitsyncs 0", "gitgate_lock_frozen_objects 0")
}

// mode fails unless the settings are in a mode.
func (s *site) mode(ctx context.Context, want string) error {
	var m corev1.ConfigMap
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: reef, Name: "settings"}, &m); err != nil {
		return err
	}
	if m.Data["mode"] != want {
		return errors.New("the mode is " + m.Data["mode"])
	}
	return nil
}

// says fails unless the replica has logged a text with what it holds.
func (s *site) says(t *testing.T, text string) {
	t.Helper()
	if log := s.w.LogTail(1 << 20); !strings.Contains(log, text) {
		t.Errorf("the log does not say %q", text)
	}
}
