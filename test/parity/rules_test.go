package parity

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/bundle"
	"gitgate.dev/gitgate/verify/image"
)

// remoteRule is what comes from elsewhere.
const remoteRule = "package remote\n\ndeny contains {\"msg\": sprintf(\"%s is far away\", [v]), \"field\": \"data.place\"} if { v := input.object.data.place; v != data.places.home }\n"

var remoteData = `{"places": {"home": "here"}}`

// atDoor has a set judge at admission as well.
func atDoor(set *v1alpha1.PolicySet) {
	set.Spec.Admission = v1alpha1.ModeEnforce
	set.Spec.Match = &v1alpha1.PolicyMatch{Namespaces: []string{admitted}}
}

// gitRules are rules of a repository of their own.
func (w *world) gitRules(t *testing.T) plan {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var p plan
	_, err := w.NewRules(ctx, "remote-git", map[string]string{"policies/r/rule.rego": remoteRule, "policies/data.json": remoteData}, func(trust *v1alpha1.TrustPolicy, set *v1alpha1.PolicySet) {
		atDoor(set)
		p.known, p.more = append(p.known, set), append(p.more, trust, w.GitCredentials(lab.SystemNamespace))
	})
	must(t, "the rules", err)
	return p
}

// ociRules are rules of a signed bundle.
func (w *world) ociRules(t *testing.T) plan {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var raw bytes.Buffer
	zip := gzip.NewWriter(&raw)
	files := tar.NewWriter(zip)
	for name, content := range map[string]string{"r/rule.rego": remoteRule, "data.json": remoteData} {
		must(t, "the bundle", files.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}))
		_, err := files.Write([]byte(content))
		must(t, "the bundle", err)
	}
	must(t, "the bundle", errors.Join(files.Close(), zip.Close()))
	v, err := image.NewVerifier(image.Config{LoopbackHTTP: true})
	must(t, "the registry", err)
	repository := w.Registry.Host() + "/rules/parity"
	digest, err := bundle.Push(ctx, v, repository+":v1", raw.Bytes(), "1")
	must(t, "the bundle", err)
	must(t, "the signature", w.Registry.SignTag(registry.Image{Repository: repository, Digest: digest}, w.Release))
	set := &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: "remote-oci"}}
	set.Spec.Source.OCI = &v1alpha1.OCIPolicySource{
		URL: "oci://" + repository + ":v1", Interval: &metav1.Duration{Duration: time.Hour},
		Verify: v1alpha1.BundleVerification{Authorities: []v1alpha1.ImageAuthority{{Name: "release", Key: v1alpha1.ImageKey{Data: w.Release.Public}}}},
	}
	atDoor(set)
	must(t, "the rules", w.Client.Create(ctx, set.DeepCopy()))
	return plan{known: []*v1alpha1.PolicySet{set}}
}

// TestRemoteRules proves that rules from Git and from a registry say the same, byte for
// byte, in gitgate check, in the reconciler and at admission, each of which has fetched
// and verified them itself.
func TestRemoteRules(t *testing.T) {
	w := begin(t)
	w.openDoor(t)
	for kind, rules := range map[string]func(*testing.T) plan{"git": w.gitRules, "oci": w.ociRules} {
		t.Run(kind, func(t *testing.T) {
			with := rules(t)
			name := "remote-" + kind
			w.awaitRules(t, name)
			s := w.newSite(t, name+"-site", func(_ *site, p *plan) {
				p.fresh, p.sync.Spec.TargetNamespace, p.sync.Spec.Policies = true, admitted, []v1alpha1.LocalReference{{Name: name}}
				p.known, p.more = with.known, with.more
			})
			manifest := edited(configMap("place: moon"), "name: more", "name: "+name)
			head := s.commit(gitrepo.Change{Files: files("object.yaml", manifest).Files})
			check, stderr := s.check(head)
			if stderr != "" || !strings.Contains(texts(check.Findings), "moon is far away") {
				t.Fatalf("gitgate check: %s\n%s", stderr, texts(check.Findings))
			}
			reconciler, sync := s.reconcile(head)
			if reconciler.Revision == "" {
				t.Fatalf("the reconciler judged nothing: %+v", sync.Status.Conditions)
			}
			(trial{reason: "The same rules.", want: reasons(verdict.PolicyDenied), says: "moon is far away"}).judge(t, check, reconciler)
			admission := slices.DeleteFunc(s.admission(manifest), func(f string) bool { // the other kind judges there as well
				return !strings.Contains(f, `"policy":"`+name+`/`)
			})
			if diff := cmp.Diff(withoutPlace(t, check, nil), admission); diff != "" {
				t.Errorf("the doors differ (-check +webhook)\n%s", diff)
			}
			s.replays()

			offline, _ := s.check(head, "--offline")
			if offline.Allowed || !offline.Undetermined || !strings.Contains(texts(offline.Findings), "--offline") {
				t.Errorf("offline it is allowed: %t, undetermined: %t\n%s", offline.Allowed, offline.Undetermined, texts(offline.Findings))
			}
			s.tryOut(name, head.String())
		})
	}
}

// tryOut checks with a copy of the rules that somebody has changed.
func (s *site) tryOut(set, head string) {
	s.t.Helper()
	dir := s.t.TempDir()
	must(s.t, "the copy", errors.Join(writeFile(dir, "rule.rego", remoteRule), writeFile(dir, "data.json", `{"places": {"home": "moon"}}`)))
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	r, stderr := s.run(ctx, []string{"check", "--repo", s.repo.Dir, "-c", s.configuration(), "--head", head, "--offline", "--policy-bundle", set + "=" + dir, "-o", "json"})
	if stderr != "" || !r.Allowed || !slices.Equal(distinct(s.t, r.Findings), reasons(verdict.PolicyError)) || !strings.Contains(texts(r.Findings), "nobody was asked") {
		s.t.Errorf("with a copy it is allowed: %t, %s\n%s", r.Allowed, stderr, texts(r.Findings))
	}
}

// awaitRules waits until both servers have the rules in force.
func (w *world) awaitRules(t *testing.T, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := w.AwaitSet(ctx, name, func(s *v1alpha1.PolicySet) bool { return s.Status.Artifact != nil })
	must(t, "the rules", err)
	w.refusedAtDoor(ctx, t, edited(configMap("place: moon"), "name: more", "name: probe-"+name), "moon is far away")
}

func writeFile(dir, name, content string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600)
}
