package main_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

func TestAttack_P1_Symlinks(t *testing.T) {
	t.Parallel()
	s := newSite(t, "p1-site")
	for name, target := range map[string]string{
		"Token": "/var/run/secrets/kubernetes.io/serviceaccount/token", "DotGit": "../.git/config", "OtherApp": "../other/evil.yaml",
	} {
		s.run(name, func(s *site) {
			s.denied(refusal{reason: verdict.PathEscape, file: "deploy/link.yaml"}, gitrepo.Change{
				Symlinks: map[string]string{"deploy/link.yaml": target}, Files: map[string]string{"other/evil.yaml": evil()["deploy/evil.yaml"]},
			})
		})
	}
	s.run("Generator", func(s *site) {
		s.denied(refusal{reason: verdict.PathEscape, file: "deploy/kustomization.yaml", line: 5}, gitrepo.Change{
			Symlinks: map[string]string{"deploy/token": "/etc/passwd"},
			Files:    map[string]string{"deploy/kustomization.yaml": "resources: [web.yaml]\nconfigMapGenerator:\n- name: stolen\n  files:\n  - token\n"},
		})
	})
}

func TestAttack_P2_PathEscape(t *testing.T) {
	t.Parallel()
	s := newSite(t, "p2-site")
	for name, text := range map[string]string{
		"Resource":  "resources:\n- web.yaml\n- ../../../../etc/kubernetes/admin.conf\n",
		"Absolute":  "resources:\n- web.yaml\n- /etc/kubernetes/admin.conf\n",
		"Generator": "resources: [web.yaml]\nconfigMapGenerator:\n- {name: stolen, files: [k=../../../../etc/passwd]}\n",
		"Patch":     "resources: [web.yaml]\npatches:\n- path: ../../etc/passwd\n",
	} {
		s.run(name, func(s *site) {
			s.denied(refusal{reason: verdict.PathEscape, file: "deploy/kustomization.yaml", line: 3},
				gitrepo.Change{Files: map[string]string{"deploy/kustomization.yaml": text}})
		})
	}
	for _, path := range []string{"../etc", "/etc", "a/../../etc"} {
		t.Run("Path/"+path, func(t *testing.T) {
			g := s.GitSync()
			g.Name, g.Spec.Path = s.name+"-path", path
			s.refusedByAPI(t, g, "must be relative and stay inside the repository")
		})
	}
}

func TestAttack_P3_RemoteInput(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	sentinel := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		fmt.Fprint(w, evil()["deploy/evil.yaml"])
	}))
	t.Cleanup(sentinel.Close)
	s := newSite(t, "p3-site")
	host := strings.TrimPrefix(sentinel.URL, "http://")
	for name, tc := range map[string]struct {
		text string
		line int
	}{
		"RemoteResource": {"resources:\n- web.yaml\n- " + sentinel.URL + "/evil.yaml\n", 3},
		"RemoteBase":     {"resources:\n- web.yaml\n- git::" + sentinel.URL + "/org/repo.git//base?ref=main\n", 3},
		"RemoteSSH":      {"resources:\n- web.yaml\n- git@" + host + ":org/repo.git\n", 3},
		"HelmChart":      {"resources: [web.yaml]\nhelmCharts:\n- name: evil\n  repo: " + sentinel.URL + "\n", 0},
		"ExecPlugin": {"resources: [web.yaml]\ntransformers:\n- |\n  apiVersion: v1\n  kind: X\n  metadata:\n    name: x\n    annotations:\n" +
			"      config.kubernetes.io/function: |\n        exec: {path: ./sh-plugin}\n", 0},
	} {
		s.run(name, func(s *site) {
			s.denied(refusal{reason: verdict.RemoteInput, file: "deploy/kustomization.yaml", line: tc.line}, gitrepo.Change{
				Files:      map[string]string{"deploy/kustomization.yaml": tc.text, "deploy/sh-plugin": "#!/bin/sh\nexit 1\n"},
				Executable: []string{"deploy/sh-plugin"},
			})
			if n := hits.Load(); n != 0 {
				s.t.Errorf("%d requests went out", n)
			}
		})
	}
	if err := s.unharmed(); err != nil { // no program was run
		t.Error(err)
	}
}

func TestAttack_P4_CyclesAndSizes(t *testing.T) {
	t.Parallel()
	s := newSite(t, "p4-site")
	s.run("SymlinkCycle", func(s *site) {
		s.denied(refusal{reason: verdict.PathEscape, file: "deploy/loop"}, gitrepo.Change{Symlinks: map[string]string{"deploy/loop": "../deploy"}})
	})
	s.run("RecursiveBase", func(s *site) {
		s.denied(refusal{reason: verdict.LimitExceeded, file: "deploy/base/kustomization.yaml", line: 2}, gitrepo.Change{Files: map[string]string{
			"deploy/kustomization.yaml": "resources:\n- web.yaml\n- base\n", "deploy/base/kustomization.yaml": "resources:\n- ../../deploy\n",
		}})
	})
	s.run("Doubling", func(s *site) {
		files := map[string]string{"deploy/kustomization.yaml": "resources: [web.yaml, l0]\n"}
		for i := range 12 {
			files[fmt.Sprintf("deploy/l%d/kustomization.yaml", i)] = fmt.Sprintf("resources: [../a%d, ../b%d]\n", i, i)
			for _, side := range []string{"a", "b"} {
				files[fmt.Sprintf("deploy/%s%d/kustomization.yaml", side, i)] = fmt.Sprintf("namePrefix: %s\nresources: [../l%d]\n", side, i+1)
			}
		}
		files["deploy/l12/kustomization.yaml"], files["deploy/l12/evil.yaml"] = "resources: [evil.yaml]\n", evil()["deploy/evil.yaml"]
		s.denied(refusal{reason: verdict.LimitExceeded, file: "deploy/kustomization.yaml"}, gitrepo.Change{Files: files})
	})
	s.run("HugeManifest", func(s *site) {
		grew := s.peakMemory(func() {
			s.commit(gitrepo.Change{Files: map[string]string{"deploy/huge.yaml": lab.ConfigMap("huge", "x", strings.Repeat("x", 5<<20))}})
			s.refused(refusal{reason: verdict.LimitExceeded, file: "deploy/huge.yaml"})
		})
		if grew > 256<<20 {
			s.t.Errorf("memory grew by %d MiB", grew>>20)
		}
	})
}

// One app's poison is its own affair.
func TestAttack_P5_OnePoisonedField(t *testing.T) {
	t.Parallel()
	s, other := newSite(t, "p5-site"), newSite(t, "p5-other")
	s.run("Manifest", func(s *site) {
		s.commit(gitrepo.Change{Files: map[string]string{"deploy/poison.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: poison\n"}})
		got := s.attempt()
		s.quarantined(got, s.repo.Ref("refs/heads/main"), refusal{reason: verdict.InvalidManifest, file: "deploy/poison.yaml"})
		other.accept(gitrepo.Change{}) // while this one is quarantined
		s.tip(s.good)
		s.accept(gitrepo.Change{})
	})
	// What would keep the list of GitSyncs from being read must not be stored.
	for name, value := range map[string]any{
		"NotADuration": "bad", "Overflow": "99999999999999h", "Year": "1y", "Negative": "-5s", "Number": int64(5), "Empty": "", "Zero": "0s", "Fraction": "1e3s",
	} {
		t.Run("Interval"+name, func(t *testing.T) {
			for _, field := range []string{"interval", "retryInterval", "timeout"} {
				u := poisoned(t, s, value, "spec", field)
				err := s.Client.Create(t.Context(), u)
				if err == nil {
					s.must(s.Client.Delete(t.Context(), u))
					t.Errorf("the API server stored %s %v", field, value)
				}
			}
		})
	}
	// What is stored and wrong stalls only the GitSync that holds it.
	for name, poison := range map[string]func(*v1alpha1.GitSync){
		"Selector": func(g *v1alpha1.GitSync) {
			g.Spec.Ignore = []v1alpha1.IgnoreRule{{Paths: []string{"/data"}, Target: &v1alpha1.Target{LabelSelector: "a in (("}}}
		},
		"HealthExpression": func(g *v1alpha1.GitSync) {
			g.Spec.HealthCheckExprs = []v1alpha1.HealthCheckExpr{{APIVersion: "v1", Kind: "ConfigMap", Current: "status.("}}
		},
		"Pointer": func(g *v1alpha1.GitSync) { g.Spec.Ignore = []v1alpha1.IgnoreRule{{Paths: []string{"/~9"}}} },
	} {
		s.run(name, func(s *site) {
			good := s.current()
			s.change(poison)
			got := s.attempt()
			if ready := lab.Ready(got); ready.Status != metav1.ConditionFalse {
				s.t.Errorf("Ready is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
			} else {
				s.t.Logf("%s: %s", ready.Reason, ready.Message)
			}
			other.accept(gitrepo.Change{})
			s.alive()
			s.change(func(g *v1alpha1.GitSync) { g.Spec = good.Spec })
			s.accept(gitrepo.Change{})
		})
	}
}

func poisoned(t *testing.T, s *site, value any, path ...string) *unstructured.Unstructured {
	t.Helper()
	g := s.GitSync()
	g.Name = s.name + "-poison"
	content, err := toUnstructured(g)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: "gitgate.dev", Version: "v1alpha1", Kind: "GitSync"})
	if err := unstructured.SetNestedField(u.Object, value, path...); err != nil {
		t.Fatal(err)
	}
	return u
}

// asTenant puts the GitSync into the namespace that it applies to, with an
// account that may write ConfigMaps and Deployments there.
func asTenant(s *site, p *setup) {
	ctx := s.t.Context()
	s.must(s.EnsureNamespace(ctx, s.name))
	in := metav1.ObjectMeta{Namespace: s.name, Name: "deployer"}
	for _, o := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: in},
		&rbacv1.Role{ObjectMeta: in, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"", "apps"}, Resources: []string{"configmaps", "deployments"}, Verbs: []string{"*"}},
		}},
		&rbacv1.RoleBinding{
			ObjectMeta: in, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "deployer"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: s.name, Name: "deployer"}},
		},
	} {
		s.must(s.Client.Create(ctx, o))
	}
	var credentials corev1.Secret
	s.must(s.Client.Get(ctx, client.ObjectKey{Namespace: lab.SystemNamespace, Name: lab.GitSecret}, &credentials))
	s.must(s.Client.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: lab.GitSecret}, Data: credentials.Data}))
	p.trust.Spec.Namespaces = []string{s.name}
	p.sync.Namespace = s.name
	p.sync.Spec.ServiceAccountName = "deployer"
	p.sync.Spec.Decryption = nil
}

func TestAttack_P6_TenantOutOfScope(t *testing.T) {
	t.Parallel()
	s := newSite(t, "p6-site", asTenant)
	binding := "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: p6-site-evil}\n" +
		"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\nsubjects: [{kind: User, name: mallory, apiGroup: rbac.authorization.k8s.io}]\n"
	for name, tc := range map[string]struct {
		manifest string
		want     verdict.Reason
		line     int
	}{
		"OtherNamespace": {"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: p6-site-evil\n  namespace: kube-system\n", verdict.ScopeViolation, 5},
		"SystemNamespace": {"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: p6-site-evil\n  namespace: " + lab.SystemNamespace + "\n",
			verdict.ScopeViolation, 5},
		"ClusterKind": {binding, verdict.ScopeViolation, 2},
		"OwnNamespace": {"apiVersion: v1\nkind: Namespace\nmetadata: {name: p6-site, labels: {pod-security.kubernetes.io/enforce: privileged}}\n",
			verdict.ScopeViolation, 2},
		"TrustPolicy": {manifest(t, "TrustPolicy", s.TrustPolicy()), verdict.ScopeViolation, 1},
		// The account may not, though gitgate could: it does not fall back.
		"BeyondItsRights": {"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: evil}\n", verdict.DryRunRejected, 1},
	} {
		s.run(name, func(s *site) {
			s.denied(refusal{reason: tc.want, file: "deploy/evil.yaml", line: tc.line},
				gitrepo.Change{Files: map[string]string{"deploy/evil.yaml": tc.manifest}})
		})
	}
	for name, edit := range map[string]func(*v1alpha1.GitSync){
		"NoAccount":        func(g *v1alpha1.GitSync) { g.Spec.ServiceAccountName = "" },
		"AccountElsewhere": func(g *v1alpha1.GitSync) { g.Spec.ServiceAccountName = "kube-system:admin" },
		"TargetElsewhere":  func(g *v1alpha1.GitSync) { g.Spec.TargetNamespace = "kube-system" },
		"DependencyElsewhere": func(g *v1alpha1.GitSync) {
			g.Spec.DependsOn = []v1alpha1.DependencyReference{{Namespace: lab.SystemNamespace, Name: "x"}}
		},
		"AccountThatIsAFormat": func(g *v1alpha1.GitSync) { g.Spec.ServiceAccountName = "../../masters" },
	} {
		s.run(name, func(s *site) { s.stalls(verdict.ScopeViolation, edit) })
	}
}
