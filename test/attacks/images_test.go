package main_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
	"gitgate.dev/gitgate/test/testkit/registry"
)

// lineOf is the line of a text that holds the part, from 1.
func lineOf(t *testing.T, text, part string) int {
	t.Helper()
	before, _, ok := strings.Cut(text, part)
	if !ok {
		t.Fatalf("no %q in\n%s", part, text)
	}
	return strings.Count(before, "\n") + 1
}

// withRegistry lets the release key vouch for images of another registry too.
func withRegistry(r *registry.Registry) func(*site, *setup) {
	return func(s *site, p *setup) {
		p.trust.Spec.Images.Rules = append(p.trust.Spec.Images.Rules, v1alpha1.ImageRule{
			Match:       []string{r.Host() + "/acme/**"},
			Authorities: []v1alpha1.ImageAuthority{{Name: "release", Key: v1alpha1.ImageKey{Data: s.Release.Public}}},
		})
	}
}

// signed pushes an image and signs it with the release key.
func (s *site) signed(r *registry.Registry, image string) registry.Image {
	s.t.Helper()
	i := r.MustPushImage(s.t, image)
	s.must(r.SignTag(i, s.Release))
	return i
}

// runs is the image of a live Deployment.
func (s *site) runs(name string) string {
	s.t.Helper()
	var d appsv1.Deployment
	s.must(s.Client.Get(s.t.Context(), client.ObjectKey{Namespace: s.name, Name: name}, &d))
	return d.Spec.Template.Spec.Containers[0].Image
}

func TestAttack_I1_TagFlips(t *testing.T) {
	t.Parallel()
	r := registry.New(t, registry.Options{})
	s := newSite(t, "i1-site", withRegistry(r))
	const file = "deploy/flip.yaml"
	good, bad := s.signed(r, "acme/flip:1"), r.MustPushImage(t, "acme/flip:evil")
	s.must(r.FlipTag(good, bad))
	s.accept(gitrepo.Change{Files: map[string]string{file: lab.Deployment("flip", good.Name, 1)}})
	if got, want := s.runs("flip"), good.Repository+"@"+good.Digest; !sameImage(got, want) {
		t.Errorf("flip runs %s, want what was verified, %s", got, want)
	}
	// From now on the tag is the other image.
	before := s.state()
	text := lab.Deployment("flip", good.Name, 2)
	head := s.commit(gitrepo.Change{Files: map[string]string{file: text}})
	s.quarantined(s.attempt(), head, refusal{reason: verdict.ImageUnsigned, file: file, line: lineOf(t, text, "image:"), says: bad.Digest})
	s.unchanged(before)
	s.tip(s.good)
	s.accept(gitrepo.Change{Files: map[string]string{file: lab.Deployment("flip", good.Pinned(), 2)}})
}

// sameImage compares the repositories and digests of two images.
func sameImage(a, b string) bool {
	strip := func(image string) string {
		name, digest, _ := strings.Cut(image, "@")
		slash := strings.LastIndexByte(name, '/')
		last, _, _ := strings.Cut(name[slash+1:], ":")
		return name[:slash+1] + last + "@" + digest
	}
	return strip(a) == strip(b)
}

func TestAttack_I1_TagWhereADigestIsRequired(t *testing.T) {
	t.Parallel()
	s := newSite(t, "i1-pinned", func(s *site, p *setup) {
		p.trust.Spec.Images.Digest = "Required"
		p.files["deploy/web.yaml"] = lab.Deployment("web", s.web.Pinned(), 1)
	})
	text := lab.Deployment("web", s.web.Name, 1)
	s.denied(refusal{reason: verdict.ImageNotPinned, file: "deploy/web.yaml", line: lineOf(t, text, "image:")},
		gitrepo.Change{Files: map[string]string{"deploy/web.yaml": text}})
}

func TestAttack_I2_IndexAndChild(t *testing.T) {
	t.Parallel()
	r := registry.New(t, registry.Options{})
	s := newSite(t, "i2-site", withRegistry(r))
	const file = "deploy/multi.yaml"
	index := r.MustPushIndex(t, "acme/multi:1", 2)
	s.must(r.SignTag(index, s.Release))
	s.run("ChildOfSignedIndex", func(s *site) {
		text := lab.Deployment("multi", index.Child(0).Pinned(), 1)
		s.denied(refusal{reason: verdict.ImageUnsigned, file: file, line: lineOf(s.t, text, "image:")}, gitrepo.Change{Files: map[string]string{file: text}})
	})
	other := r.MustPushIndex(t, "acme/other:1", 2)
	s.must(r.SignTag(other.Child(0), s.Release))
	s.run("IndexOfSignedChild", func(s *site) {
		text := lab.Deployment("multi", other.Pinned(), 1)
		s.denied(refusal{reason: verdict.ImageUnsigned, file: file, line: lineOf(s.t, text, "image:")}, gitrepo.Change{Files: map[string]string{file: text}})
	})
	s.run("Control", func(s *site) {
		s.accept(gitrepo.Change{Files: map[string]string{file: lab.Deployment("multi", index.Pinned(), 1)}})
	})
}

func TestAttack_I4_Attestations(t *testing.T) {
	t.Parallel()
	r, stranger := registry.New(t, registry.Options{}), registry.MustKey(t, registry.ECDSAP256)
	s := newSite(t, "i4-site", withRegistry(r), func(_ *site, p *setup) {
		rules := p.trust.Spec.Images.Rules
		rules[len(rules)-1].Attestations = []v1alpha1.ImageAttestation{{Name: "scan", PredicateType: "vuln"}}
	})
	const file, scan, vuln = "deploy/scanned.yaml", `{"invocation":{"uri":"https://scan.example.com"}}`, "https://cosign.sigstore.dev/attestation/vuln/v1"
	scanned := s.signed(r, "acme/scanned:1")
	s.must(r.AttestTag(scanned, s.Release, "vuln", scan))
	for name, tc := range map[string]struct {
		forge func(registry.Image) error
		want  verdict.Reason
		says  string
	}{
		"None":       {func(registry.Image) error { return nil }, verdict.AttestationMissing, "has no attestation scan"},
		"OtherType":  {func(i registry.Image) error { return r.AttestBundle(i, s.Release, "spdxjson", "{}") }, verdict.AttestationMissing, "has no attestation scan"},
		"OtherKey":   {func(i registry.Image) error { return r.AttestBundle(i, stranger, "vuln", scan) }, verdict.AttestationInvalid, "not signed by the key of release"},
		"Replayed":   {func(i registry.Image) error { return r.CopyAttestations(scanned, i) }, verdict.AttestationInvalid, "it is about another image, " + scanned.Digest},
		"Unreadable": {func(i registry.Image) error { return r.AttachAttestation(i, []byte("{"), vuln) }, verdict.AttestationInvalid, "it is no DSSE envelope"},
		"Mislabelled": {func(i registry.Image) error {
			payload, err := registry.Statement(i, "spdxjson", "{}")
			if err != nil {
				return err
			}
			envelope, err := registry.Envelope(s.Release, registry.InToto, payload)
			if err != nil {
				return err
			}
			return r.AttachAttestation(i, envelope, vuln)
		}, verdict.AttestationInvalid, "it is listed as such, and states https://spdx.dev/Document"},
	} {
		s.run(name, func(s *site) {
			i := s.signed(r, "acme/"+strings.ToLower(name)+":1")
			s.must(tc.forge(i))
			text := lab.Deployment("scanned", i.Pinned(), 1)
			s.denied(refusal{reason: tc.want, file: file, line: lineOf(s.t, text, "image:"), says: tc.says}, gitrepo.Change{Files: map[string]string{file: text}})
		})
	}
	s.run("Control", func(s *site) {
		s.accept(gitrepo.Change{Files: map[string]string{file: lab.Deployment("scanned", scanned.Pinned(), 1)}})
	})
}

func TestAttack_I7_HostileRegistry(t *testing.T) {
	t.Parallel()
	r := registry.New(t, registry.Options{})
	s := newSite(t, "i7-site", withRegistry(r))
	const file, manifestType = "deploy/slow.yaml", "application/vnd.oci.image.manifest.v1+json"
	many := s.signed(r, "acme/many:1")
	blob, err := r.PutBlob("acme/many", []byte("{}"))
	s.must(err)
	layer := fmt.Sprintf(`{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","size":2,"digest":%q,"annotations":{"dev.cosignproject.cosign/signature":"AAAA"}}`, blob)
	signatures := []byte(`{"schemaVersion":2,"layers":[` + strings.Repeat(layer+",", 9999) + layer + `]}`)
	for name, tc := range map[string]struct {
		fault registry.Fault
		want  verdict.Reason
	}{
		"TenThousandSignatures": {registry.Fault{Path: "/manifests/" + registry.SignatureTag(many.Digest), Body: signatures, ContentType: manifestType}, verdict.RegistryLimit},
		"Gigabyte":              {registry.Fault{Path: "/manifests/", Filler: 1 << 30, ContentType: manifestType}, verdict.RegistryLimit},
		"SlowBytes":             {registry.Fault{Path: "/manifests/", Drip: 200 * time.Millisecond}, verdict.RegistryUnavailable},
		"RateLimit":             {registry.Fault{Path: "/v2/", Status: 429, RetryAfter: "3600"}, verdict.RegistryUnavailable},
		"ServerError":           {registry.Fault{Path: "/manifests/", Status: 500}, verdict.RegistryUnavailable},
	} {
		s.run(name, func(s *site) {
			r.Reset()
			r.Inject(tc.fault)
			defer r.Reset()
			text, start := lab.Deployment("slow", many.Name, 1), time.Now()
			grew := s.peakMemory(func() {
				s.denied(refusal{reason: tc.want, file: file, line: lineOf(s.t, text, "image:")}, gitrepo.Change{Files: map[string]string{file: text}})
			})
			if grew > 256<<20 {
				s.t.Errorf("memory grew by %d MiB", grew>>20)
			}
			if took := time.Since(start); took > time.Minute {
				s.t.Errorf("it took %s", took)
			}
		})
	}
	s.run("VerifiedBeforeTheOutage", func(s *site) {
		r.Reset()
		s.accept(gitrepo.Change{Files: map[string]string{file: lab.Deployment("slow", many.Pinned(), 1)}})
		r.Inject(registry.Fault{Status: 503, RetryAfter: "3600"})
		defer r.Reset()
		s.accept(gitrepo.Change{Files: map[string]string{file: lab.Deployment("slow", many.Pinned(), 2)}}) // known by its digest
		text := lab.Deployment("slow", many.Name, 3)                                                       // a tag is never remembered
		s.denied(refusal{reason: verdict.RegistryUnavailable, file: file, line: lineOf(s.t, text, "image:")}, gitrepo.Change{Files: map[string]string{file: text}})
	})
}

func TestAttack_I8_EveryImageCounts(t *testing.T) {
	t.Parallel()
	r := registry.New(t, registry.Options{})
	s := newSite(t, "i8-site", withRegistry(r))
	evil := r.MustPushImage(t, "acme/evil:1").Name
	deployment := lab.Deployment("evil", s.signed(r, "acme/good:1").Name, 1)
	container := "- name: evil\n          image: " + evil + "\n          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}\n"
	for name, tc := range map[string]struct {
		text string
		want verdict.Reason
	}{
		"Init":           {deployment + "      initContainers:\n        " + container, verdict.ImageUnsigned},
		"Ephemeral":      {deployment + "      ephemeralContainers:\n        " + container, verdict.ImageUnsigned},
		"Second":         {deployment + "        " + container, verdict.ImageUnsigned},
		"ImageVolume":    {deployment + "      volumes:\n        - name: evil\n          image: {reference: " + evil + "}\n", verdict.ImageUnsigned},
		"ArgoWorkflow":   {"apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: evil}\nspec:\n  templates:\n  - container:\n      image: " + evil + "\n", verdict.UncoveredImage},
		"KnativeService": {"apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: evil}\nspec:\n  template:\n    spec:\n      containers:\n      - image: " + evil + "\n", verdict.UncoveredImage},
		"PodTemplate":    {"apiVersion: v1\nkind: PodTemplate\nmetadata: {name: evil}\ntemplate:\n  spec:\n    containers:\n    - {name: a, image: " + evil + "}\n", verdict.ImageUnsigned},
	} {
		s.run(name, func(s *site) {
			line := lineOf(s.t, tc.text, evil)
			s.commit(gitrepo.Change{Files: map[string]string{"deploy/evil.yaml": tc.text}})
			s.refused(refusal{reason: tc.want, file: "deploy/evil.yaml", line: line})
		})
	}
}

func TestAttack_I8_DeclaredExtractor(t *testing.T) {
	t.Parallel()
	r := registry.New(t, registry.Options{})
	s := newSite(t, "i8-declared", withRegistry(r), func(_ *site, p *setup) {
		p.trust.Spec.Images.Extractors = []v1alpha1.ImageExtractor{{
			APIVersion: "argoproj.io/v1alpha1", Kind: "Workflow", Paths: []string{".spec.templates[*].container.image"},
		}}
	})
	evil := r.MustPushImage(t, "acme/evil:1").Name
	text := "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: evil}\nspec:\n  templates:\n  - container:\n      image: " + evil + "\n"
	s.denied(refusal{reason: verdict.ImageUnsigned, file: "deploy/evil.yaml", line: 7}, gitrepo.Change{Files: map[string]string{"deploy/evil.yaml": text}})
}

// All spellings of one image get one verdict.
func TestAttack_I9_Spellings(t *testing.T) {
	t.Parallel()
	s := newSite(t, "i9-site")
	const file = "deploy/spelled.yaml"
	for i, image := range []string{
		"nginx", "nginx:latest", "library/nginx", "docker.io/nginx", "docker.io/library/nginx", "index.docker.io/library/nginx", "docker.io:443/library/nginx",
		"nginx@sha256:" + strings.Repeat("ab", 32), "nginx:1@sha256:" + strings.Repeat("ab", 32),
	} {
		s.run(fmt.Sprintf("Unlisted%d", i), func(s *site) {
			text := lab.Deployment("spelled", image, 1)
			s.denied(refusal{reason: verdict.ImageNotAllowed, file: file, line: lineOf(s.t, text, "image:")}, gitrepo.Change{Files: map[string]string{file: text}})
		})
	}
	unsigned, err := s.Registry.PushImage("acme/spelled:1")
	s.must(err)
	for name, image := range map[string]string{"Tag": unsigned.Name, "Digest": unsigned.Pinned(), "TagAndDigest": unsigned.Name + "@" + unsigned.Digest} {
		s.run("Unsigned"+name, func(s *site) {
			text := lab.Deployment("spelled", image, 1)
			s.denied(refusal{reason: verdict.ImageUnsigned, file: file, line: lineOf(s.t, text, "image:")}, gitrepo.Change{Files: map[string]string{file: text}})
		})
	}
	s.must(s.Registry.SignTag(unsigned, s.Release))
	for name, image := range map[string]string{"Tag": unsigned.Name, "Digest": unsigned.Pinned(), "TagAndDigest": unsigned.Name + "@" + unsigned.Digest} {
		s.run("Signed"+name, func(s *site) {
			s.accept(gitrepo.Change{Files: map[string]string{file: lab.Deployment("spelled", image, 1)}})
			if got := s.runs("spelled"); !strings.HasSuffix(got, "@"+unsigned.Digest) {
				s.t.Errorf("spelled runs %s, want the digest %s", got, unsigned.Digest)
			}
		})
	}
}
