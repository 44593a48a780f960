package schema_test

import (
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy/schema"
)

func TestFields(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, kind, path string
		has, hasNot        string // a field; empty with hasNot means that there may be any
	}{
		"Top":        {"A kind has its fields.", "ConfigMap", "", "binaryData", "spec"},
		"Deep":       {"Through lists.", "Pod", "spec containers * securityContext", "runAsNonRoot", "runAsRoot"},
		"Template":   {"And through what other kinds embed.", "CronJob", "spec jobTemplate spec template spec containers * env * valueFrom", "secretKeyRef", "secret"},
		"Versions":   {"Of all versions.", "HorizontalPodAutoscaler", "spec", "targetCPUUtilizationPercentage", "target"},
		"OtherOfThe": {"And of the other one.", "HorizontalPodAutoscaler", "spec", "metrics", "target"},
		"Mapping":    {"A mapping has any keys.", "Pod", "metadata labels", "", ""},
		"InMapping":  {"But what is in it may be known.", "ResourceQuota", "spec hard cpu", "", ""},
		"Recursive":  {"Schemas may refer to themselves.", "CustomResourceDefinition", "spec versions * schema openAPIV3Schema properties a properties b", "maxLength", "maxlength"},
		"AnyField":   {"A field that is any is not followed.", "Pod", "spec *", "", ""},
		"Scalar":     {"A text has none.", "Pod", "spec nodeName", "", ""},
		"Nothing":    {"Nor has what is not there.", "Pod", "spec nowhere", "", ""},
		"Index":      {"A list has no named items.", "Pod", "spec containers first", "", ""},
		"Custom":     {"What is not built in may have any.", "Certificate", "spec", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, closed := schema.Fields(tc.kind, strings.Fields(tc.path))
			if closed != (tc.has != "") {
				t.Fatalf("%s\nclosed = %t, fields %q", tc.reason, closed, got)
			}
			if closed && (!slices.Contains(got, tc.has) || slices.Contains(got, tc.hasNot)) {
				t.Errorf("%s\nfields %q, want %s and not %s", tc.reason, got, tc.has, tc.hasNot)
			}
		})
	}
}
