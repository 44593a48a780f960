package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/lab"
	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/bundle"
	"gitgate.dev/gitgate/verify/image"
)

// archive is a bundle with these files, whatever they are called.
func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for _, name := range slices.Sorted(maps.Keys(files)) { // the same bundle every time
		content := files[name]
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// release is a bundle that forbids a color.
func release(t *testing.T, version, color string) []byte {
	return archive(t, map[string]string{
		".manifest":        fmt.Sprintf(`{"revision": %q}`, version),
		"house/house.rego": "package house\n\ndeny contains sprintf(\"%s is not our color\", [input.object.data.color]) if input.object.data.color == data.colors.bad\n",
		"colors/data.json": fmt.Sprintf("{\"bad\": %q}", color),
	})
}

// A bundled is an app whose rules come from a registry.
type bundled struct {
	*app
	repository, name string
}

func (b *bundled) push(raw []byte, keys ...*registry.Key) string {
	b.t.Helper()
	v, err := image.NewVerifier(image.Config{LoopbackHTTP: true})
	if err != nil {
		b.t.Fatal(err)
	}
	digest, err := bundle.Push(b.ctx, v, b.repository+":v1", raw, "test")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, k := range keys {
		if err := b.Registry.SignTag(registry.Image{Repository: b.repository, Digest: digest}, k); err != nil {
			b.t.Fatal(err)
		}
	}
	return digest
}

func newBundled(t *testing.T, l *lab.Lab, name string) *bundled {
	t.Helper()
	b := &bundled{repository: l.Registry.Host() + "/rules/" + name, name: name + "-rules"}
	b.app = &app{App: &lab.App{Lab: l}, t: t, ctx: testContext(t)}
	return b
}

// deploy creates the PolicySet and an app that is judged by it.
func (b *bundled) deploy() {
	b.t.Helper()
	set := &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: b.name}}
	set.Spec.Source.OCI = &v1alpha1.OCIPolicySource{
		URL: "oci://" + b.repository + ":v1", Interval: &metav1.Duration{Duration: 5e9},
		Verify: v1alpha1.BundleVerification{Authorities: []v1alpha1.ImageAuthority{{Name: "release", Key: v1alpha1.ImageKey{Data: b.Release.Public}}}},
	}
	if err := b.Client.Create(b.ctx, set); err != nil {
		b.t.Fatal(err)
	}
	raw, err := b.Lab.NewApp(b.ctx, strings.TrimSuffix(b.name, "-rules"), func(_ *v1alpha1.TrustPolicy, s *v1alpha1.GitSync) {
		s.Spec.Policies = []v1alpha1.LocalReference{{Name: b.name}}
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.App = raw
}

func (b *bundled) set(what string, holds func(*v1alpha1.PolicySet) bool) *v1alpha1.PolicySet {
	b.t.Helper()
	s, err := b.AwaitSet(b.ctx, b.name, holds)
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
	return s
}

func (b *bundled) inForce(digest, version string) {
	b.t.Helper()
	s := b.set("the bundle to be in force", func(s *v1alpha1.PolicySet) bool {
		return s.Status.Artifact != nil && strings.HasSuffix(s.Status.Artifact.Revision, "@"+digest) && lab.SetCondition(s, v1alpha1.ConditionVerified).Status == metav1.ConditionTrue
	})
	if a := s.Status.Artifact; a.Version != version || a.URL != s.Spec.Source.OCI.URL || a.Revision != "v1@"+digest {
		b.t.Errorf("artifact = %+v", a)
	}
}

func (b *bundled) rejected(stays, reason, says string) {
	b.t.Helper()
	s := b.set("the bundle to be refused", func(s *v1alpha1.PolicySet) bool {
		return lab.SetCondition(s, v1alpha1.ConditionVerified).Status == metav1.ConditionFalse
	})
	v := lab.SetCondition(s, v1alpha1.ConditionVerified)
	if v.Reason != reason || !strings.Contains(v.Message, says) || !strings.Contains(v.Message, stays+" stays in force") || !strings.HasSuffix(s.Status.Artifact.Revision, stays) {
		b.t.Errorf("Verified = %+v, in force %+v; want %s, %q, and that %s stays", v, s.Status.Artifact, reason, says, stays)
	}
}

func (b *bundled) forbidden(color string) {
	b.t.Helper()
	f := b.refused(b.app.push("paint it "+color, map[string]string{"a.yaml": lab.ConfigMap("a", "color", color)}))
	if f.Reason != "PolicyDenied" || f.Policy != b.name+"/house.deny" || f.Message != color+" is not our color" {
		b.t.Errorf("finding = %+v", f)
	}
}

// TestRulesFromOCI proves that a bundle comes into force when it is signed and loads,
// and that whoever owns the registry can neither replace it nor take it back.
func TestRulesFromOCI(t *testing.T) {
	b := newBundled(t, shared, "bundled")
	stranger := registry.MustKey(t, registry.ECDSAP256)
	unsigned := b.push(release(t, "1.0.0", "red"))
	b.deploy()
	b.set("nothing to be in force", func(s *v1alpha1.PolicySet) bool {
		return s.Status.Artifact == nil && lab.SetCondition(s, v1alpha1.ConditionReady).Status == metav1.ConditionFalse && lab.SetCondition(s, v1alpha1.ConditionVerified).Reason == "ImageUnsigned"
	})
	h := b.app.push("green", map[string]string{"a.yaml": lab.ConfigMap("a", "color", "green")})
	b.await("held until there are rules", func(s *v1alpha1.GitSync) bool {
		return lab.Ready(s).Reason == "PolicyError" && strings.Contains(lab.Ready(s).Message, "no version of its rules is in force")
	})
	if err := b.Registry.SignTag(registry.Image{Repository: b.repository, Digest: unsigned}, b.Release); err != nil {
		t.Fatal(err)
	}
	b.inForce(unsigned, "1.0.0")
	b.accepted(h)
	b.forbidden("red")

	first := unsigned
	second := b.push(release(t, "1.1.0", "blue"), b.Release)
	b.inForce(second, "1.1.0")
	b.forbidden("blue")

	bomb := archive(t, map[string]string{"house/house.rego": "package house\n\ndeny contains \"no\" if false\n", "bomb/data.json": "{\"a\": \"" + strings.Repeat("0", 40<<20) + "\"}"})
	for _, tc := range []struct {
		name, why    string
		raw          []byte
		keys         []*registry.Key
		reason, says string
	}{
		{"Unsigned", "Nobody stands behind it.", release(t, "1.2.0", "green"), nil, "ImageUnsigned", "is refused"},
		{"OtherKey", "A stranger stands behind it.", release(t, "1.2.1", "green"), []*registry.Key{stranger}, "ImageUntrusted", "is refused"},
		{"Older", "A signed bundle of old must not come back, be it one that nobody saw here.", release(t, "1.0.9", "green"), []*registry.Key{b.Release}, "NonFastForward", "older than 1.1.0"},
		{"Back", "Neither must one that was in force.", release(t, "1.0.0", "red"), []*registry.Key{b.Release}, "NonFastForward", "was in force before"},
		{"Broken", "What does not load cannot judge.", archive(t, map[string]string{"house/house.rego": "package house\n\ndeny contains if {"}), []*registry.Key{b.Release}, "PolicyError", "oci/house/house.rego:3"},
		{"Traversal", "Nothing is unpacked, and such names are refused.", archive(t, map[string]string{"../house.rego": "package house\n\ndeny contains \"no\" if false\n"}), []*registry.Key{b.Release}, "PolicyError", ".."},
		{"Bomb", "It is not read to its end.", bomb, []*registry.Key{b.Release}, "PolicyError", "is refused"},
		{"Garbage", "It is no bundle.", []byte("garbage"), []*registry.Key{b.Release}, "PolicyError", "is refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b.t, b.ctx = t, testContext(t)
			b.push(tc.raw, tc.keys...)
			b.rejected(second, tc.reason, tc.says)
			b.forbidden("blue")
			if again := b.push(release(t, "1.1.0", "blue")); again != second {
				t.Fatalf("the same bundle has another digest: %s", again)
			}
			b.inForce(second, "1.1.0")
		})
	}
	b.t, b.ctx = t, testContext(t)
	b.pinnedAndDistrusted(first, second, stranger)
}

// pinnedAndDistrusted goes back by a pin, and takes the trust away.
func (b *bundled) pinnedAndDistrusted(first, second string, stranger *registry.Key) {
	b.t.Helper()
	change := func(edit func(*v1alpha1.OCIPolicySource)) {
		b.t.Helper()
		var set v1alpha1.PolicySet
		if err := b.Client.Get(b.ctx, client.ObjectKey{Name: b.name}, &set); err != nil {
			b.t.Fatal(err)
		}
		before := set.DeepCopy()
		edit(set.Spec.Source.OCI)
		if err := b.Client.Patch(b.ctx, &set, client.MergeFrom(before)); err != nil {
			b.t.Fatal(err)
		}
	}
	change(func(o *v1alpha1.OCIPolicySource) { o.URL = "oci://" + b.repository + "@" + first })
	b.set("the pinned bundle to be in force", func(s *v1alpha1.PolicySet) bool {
		return s.Status.Artifact != nil && s.Status.Artifact.Revision == first
	})
	b.forbidden("red")
	change(func(o *v1alpha1.OCIPolicySource) { o.Verify.Authorities[0].Key.Data = stranger.Public })
	s := b.set("the bundle to go out of force", func(s *v1alpha1.PolicySet) bool { return s.Status.Artifact == nil })
	if c := lab.SetCondition(s, v1alpha1.ConditionReady); c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "no version of its rules is in force") {
		b.t.Errorf("Ready = %+v", c)
	}
	b.await("held", func(s *v1alpha1.GitSync) bool { return lab.Ready(s).Reason == "PolicyError" })
}
