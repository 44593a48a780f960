package image_test

import (
	"testing"

	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/image"
)

// BenchmarkVerify measures one image on an idle loopback registry: Cold asks
// the registry for everything, Warm has verified the digest before.
func BenchmarkVerify(b *testing.B) {
	reg := registry.New(b, registry.Options{})
	key := registry.MustKey(b, registry.ECDSAP256)
	img := reg.MustPushImage(b, "acme/app:1")
	if err := reg.SignTag(img, key); err != nil {
		b.Fatal(err)
	}
	warm, err := image.NewVerifier(config(key))
	if err != nil {
		b.Fatal(err)
	}
	for name, v := range map[string]func() *image.Verifier{
		"Warm": func() *image.Verifier { return warm },
		"Cold": func() *image.Verifier {
			v, err := image.NewVerifier(config(key))
			if err != nil {
				b.Fatal(err)
			}
			return v
		},
	} {
		b.Run(name, func(b *testing.B) {
			reg.Reset()
			for b.Loop() {
				if _, err := v().Verify(b.Context(), img.Pinned()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(reg.Requests()))/float64(b.N), "requests/op")
		})
	}
}
