package schema_test

import (
	"testing"

	"gitgate.dev/gitgate/policy/schema"
)

// BenchmarkDeployment is the cost of one more Deployment.
func BenchmarkDeployment(b *testing.B) {
	benchmark(b, schema.New(schema.Options{}), object(b, file(b, "deployment.yaml")))
}

// BenchmarkWidget is the cost of one more custom resource, with a CEL rule.
func BenchmarkWidget(b *testing.B) {
	v := schema.New(schema.Options{})
	if err := v.AddCRD(object(b, file(b, "widgets.yaml"))); err != nil {
		b.Fatal(err)
	}
	benchmark(b, v, object(b, file(b, "widget.yaml")))
}

func benchmark(b *testing.B, v *schema.Validator, obj map[string]any) {
	if problems, err := v.Validate(b.Context(), obj); err != nil || len(problems) > 0 {
		b.Fatal(problems, err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Validate(b.Context(), obj); err != nil {
			b.Fatal(err)
		}
	}
}
