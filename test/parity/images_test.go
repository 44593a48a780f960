package parity

import (
	"maps"
	"slices"
	"strings"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/lab"
	"gitgate.dev/gitgate/test/testkit/registry"
)

// images are what manifests of the corpus run. All are in the lab's registry, but
// for those of the registries that fail.
type images struct {
	web, bundled, tagged registry.Image // signed: both ways, in the newer one, in the older one
	unsigned             registry.Image
	foreign              registry.Image // signed by a key that nobody trusts
	copied               registry.Image // under the signature of web
	altered              registry.Image // signed, and the signature changed
	index                registry.Image // signed, its children are not
	twice                registry.Image // must be signed by two keys, and is by one
	attested             registry.Image // signed, with an old provenance
	misattested          registry.Image // signed, with a provenance by a key that nobody trusts
	// flaky do not answer as a registry should, by name.
	flaky map[string]*registry.Registry
	other *registry.Key
}

func (w *world) pushImages() (err error) {
	i := &w.images
	push := func(name string, into *registry.Image, then ...func(registry.Image) error) {
		if err != nil {
			return
		}
		if *into, err = w.Registry.PushImage(name); err != nil {
			return
		}
		for _, f := range then {
			if err == nil {
				err = f(*into)
			}
		}
	}
	if i.other, err = registry.NewKey(registry.ECDSAP256); err != nil {
		return err
	}
	tag := func(i registry.Image) error { return w.Registry.SignTag(i, w.Release) }
	bundle := func(i registry.Image) error { return w.Registry.SignBundle(i, w.Release) }
	push("acme/web:1", &i.web, tag, bundle)
	push("acme/bundled:1", &i.bundled, bundle)
	push("acme/tagged:1", &i.tagged, tag)
	push("acme/unsigned:1", &i.unsigned)
	push("acme/foreign:1", &i.foreign, func(f registry.Image) error { return w.Registry.SignTag(f, i.other) })
	push("acme/copied:1", &i.copied, func(c registry.Image) error { return w.Registry.CopySignatures(i.web, c) })
	push("acme/altered:1", &i.altered, func(a registry.Image) error {
		doc, err := registry.Payload(a)
		if err != nil {
			return err
		}
		return w.Registry.AttachSignature(a, doc, "MEUCIQC"+strings.Repeat("A", 88)+"=")
	})
	push("acme/twice/app:1", &i.twice, tag)
	push("acme/attested:1", &i.attested, tag, func(a registry.Image) error {
		return w.Registry.AttestBundle(a, w.Release, "slsaprovenance1", provenance)
	})
	push("acme/misattested:1", &i.misattested, tag, func(m registry.Image) error { return w.Registry.AttestTag(m, i.other, "slsaprovenance1", provenance) })
	if err != nil {
		return err
	}
	if i.index, err = w.Registry.PushIndex("acme/index:1", 2); err != nil {
		return err
	}
	if err := tag(i.index); err != nil {
		return err
	}
	return i.startFlaky(w.Lab)
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// startFlaky starts registries each of which fails in its own way.
func (i *images) startFlaky(l *lab.Lab) error {
	i.flaky = map[string]*registry.Registry{}
	for name, fault := range map[string]registry.Fault{
		"down":      {Status: 503, RetryAfter: "3600"},
		"forbidden": {Status: 403},
		"huge":      {Path: "/manifests/", Filler: 1 << 30, ContentType: manifestType},
		"gone":      {Path: "/manifests/", Status: 404},
	} {
		r := registry.Start(registry.Options{})
		i.flaky[name] = r
		image, err := r.PushImage("acme/app:1")
		if err != nil {
			return err
		}
		if err := r.SignTag(image, l.Release); err != nil {
			return err
		}
		r.Inject(fault)
	}
	return nil
}

func (i *images) close() {
	for _, r := range i.flaky {
		r.Close()
	}
}

// trust adds the rules for what is special to those of the lab.
func (i *images) trust(l *lab.Lab, t v1alpha1.ImageTrust) v1alpha1.ImageTrust {
	release := v1alpha1.ImageAuthority{Name: "release", Key: v1alpha1.ImageKey{Data: l.Release.Public}}
	security := v1alpha1.ImageAuthority{Name: "security", Key: v1alpha1.ImageKey{Data: i.other.Public}}
	t.Rules = append(t.Rules,
		v1alpha1.ImageRule{Match: []string{l.Registry.Host() + "/acme/twice/**"}, Authorities: []v1alpha1.ImageAuthority{security}},
		v1alpha1.ImageRule{Match: []string{l.Registry.Host() + "/banned/**"}, Static: "Deny"},
		v1alpha1.ImageRule{Match: []string{l.Registry.Host() + "/open/**"}, Static: "Allow"},
	)
	for _, name := range slices.Sorted(maps.Keys(i.flaky)) {
		r := i.flaky[name]
		t.Rules = append(t.Rules, v1alpha1.ImageRule{Match: []string{r.Host() + "/acme/**"}, Authorities: []v1alpha1.ImageAuthority{release}})
	}
	t.Extractors = []v1alpha1.ImageExtractor{{APIVersion: "parity.example.com/v1", Kind: "Engine", Paths: []string{".spec.image"}}}
	return t
}

// flakyImage is the image of a registry that fails.
func (i *images) flakyImage(name string) string { return i.flaky[name].Name("acme/app:1") }
