package schema

import "testing"

// BenchmarkFirst is the cost of the first Deployment of a process.
func BenchmarkFirst(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		c, err := openCatalogue(kubernetesZip)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.find(objectMeta.GroupVersion().WithKind("Pod")); err != nil {
			b.Fatal(err)
		}
	}
}
