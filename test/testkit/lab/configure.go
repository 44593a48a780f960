package lab

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// ModuleRoot is the root of the source tree.
func ModuleRoot() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}

func (l *Lab) installCRDs(ctx context.Context) error {
	files, err := fs.Glob(os.DirFS(ModuleRoot()), "deploy/crds/*.yaml")
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no CRDs in deploy/crds (%v): run make generate", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(filepath.Join(ModuleRoot(), file))
		if err != nil {
			return err
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(raw, &crd); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := l.Client.Create(ctx, &crd); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := l.established(ctx, crd.Name); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func (l *Lab) established(ctx context.Context, name string) error {
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := l.Client.Get(ctx, client.ObjectKey{Name: name}, &crd); err != nil {
			return false, err
		}
		for _, c := range crd.Status.Conditions {
			if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
				return true, nil
			}
		}
		return false, nil
	})
}

func (l *Lab) configure(ctx context.Context) error {
	for _, ns := range []string{SystemNamespace, Namespace} {
		if err := l.EnsureNamespace(ctx, ns); err != nil {
			return err
		}
	}
	for _, o := range []client.Object{
		l.GitCredentials(SystemNamespace),
		l.secret(KeySecret, map[string][]byte{"lab.agekey": l.Age.PrivateKey()}),
		l.TrustPolicy(), l.PolicySet(),
	} {
		if err := l.Client.Create(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// GitCredentials is the Secret that opens the Git server, for a namespace.
func (l *Lab) GitCredentials(namespace string) *corev1.Secret {
	s := l.secret(GitSecret, map[string][]byte{"username": []byte(username), "password": []byte(l.password), "ca.crt": l.Git.CA()})
	s.Namespace = namespace
	return s
}

func (l *Lab) secret(name string, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: SystemNamespace, Name: name}, Data: data}
}

// TrustPolicy is what the lab trusts: Alice and Bob, and images that the release
// key signed.
func (l *Lab) TrustPolicy() *v1alpha1.TrustPolicy {
	return &v1alpha1.TrustPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: TrustName},
		Spec: v1alpha1.TrustPolicySpec{
			Repositories: []v1alpha1.TrustedRepository{{URL: l.URL(), Refs: []string{Branch}, Root: l.Root}},
			Namespaces:   []string{SystemNamespace},
			Commits: v1alpha1.CommitTrust{
				Signers: []v1alpha1.CommitSigner{
					{Name: "alice", OpenPGP: &v1alpha1.KeySource{Data: l.Alice.Public()}},
					{Name: "bob", SSH: &v1alpha1.SSHSigner{AllowedSigners: l.Bob.AllowedSigner(`namespaces="git"`) + "\n"}},
				},
				Rules: []v1alpha1.PathRule{
					{Paths: []string{"**"}, Signers: []string{"alice", "bob"}},
					{Paths: []string{"**/rbac/**"}, Signers: []string{"alice"}},
				},
			},
			Images: v1alpha1.ImageTrust{
				Rules: []v1alpha1.ImageRule{{
					Match:       []string{l.Registry.Host() + "/acme/**"},
					Authorities: []v1alpha1.ImageAuthority{{Name: "release", Key: v1alpha1.ImageKey{Data: l.Release.Public}}},
				}},
			},
		},
	}
}

// PolicySet asks for the restricted Pod Security Standard.
func (l *Lab) PolicySet() *v1alpha1.PolicySet {
	return &v1alpha1.PolicySet{
		ObjectMeta: metav1.ObjectMeta{Name: PolicyName},
		Spec:       v1alpha1.PolicySetSpec{Source: v1alpha1.PolicySource{Library: []string{"pod-security-restricted"}}},
	}
}

// GitSync applies the lab's repository.
func (l *Lab) GitSync() *v1alpha1.GitSync {
	return &v1alpha1.GitSync{
		ObjectMeta: metav1.ObjectMeta{Namespace: SystemNamespace, Name: SyncName},
		Spec: v1alpha1.GitSyncSpec{
			URL: l.URL(), Ref: v1alpha1.GitRef{Branch: Branch}, Path: "deploy",
			Interval: &metav1.Duration{Duration: 5 * time.Second}, Timeout: &metav1.Duration{Duration: time.Minute},
			SecretRef: &v1alpha1.LocalReference{Name: GitSecret},
			Trust:     v1alpha1.LocalReference{Name: TrustName}, Policies: []v1alpha1.LocalReference{{Name: PolicyName}},
			Decryption:      &v1alpha1.Decryption{Provider: "sops", SecretRef: &v1alpha1.LocalReference{Name: KeySecret}},
			TargetNamespace: Namespace,
		},
	}
}

// URL is where gitgate finds the repository.
func (l *Lab) URL() string { return l.Git.URL(RepoName) }

// Ready reports the Ready condition of a GitSync.
func Ready(s *v1alpha1.GitSync) metav1.Condition {
	if c := apimeta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// Poke asks for an attempt now, as people do who do not want to wait.
func (l *Lab) Poke(ctx context.Context, key client.ObjectKey) error {
	s := &v1alpha1.GitSync{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RequestedAtAnnotation, time.Now().Format(time.RFC3339Nano))
	return l.Client.Patch(ctx, s, client.RawPatch("application/merge-patch+json", patch))
}

// Await returns the GitSync once the condition holds, asking often. When ctx ends
// first, the error says what it looked like last.
func (l *Lab) Await(ctx context.Context, key client.ObjectKey, holds func(*v1alpha1.GitSync) bool) (*v1alpha1.GitSync, error) {
	var s v1alpha1.GitSync
	err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		if err := l.Client.Get(ctx, key, &s); err != nil {
			return false, client.IgnoreNotFound(err)
		}
		return holds(&s), nil
	})
	if err != nil {
		ready := Ready(&s)
		return &s, fmt.Errorf("waiting for GitSync %s: %w; Ready is %s (%s): %s", key, err, ready.Status, ready.Reason, ready.Message)
	}
	return &s, nil
}
