package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy"
)

// Data from several places is merged, and whoever gave it keeps his.
func TestMergeData(t *testing.T) {
	type object = map[string]any
	first, second := object{"ports": object{"ssh": 22}}, object{"ports": object{"http": 80}, "team": "a"}
	var s policy.Set
	for _, data := range []object{first, second} {
		if err := s.MergeData(data); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(object{"ports": object{"ssh": 22, "http": 80}, "team": "a"}, s.Data); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(object{"ports": object{"ssh": 22}}, first); diff != "" {
		t.Errorf("what was given is changed:\n%s", diff)
	}
	if err := s.MergeData(object{"ports": object{"http": 81}}); err == nil || err.Error() != "data.ports.http has a value already" {
		t.Errorf("MergeData() = %v", err)
	}
}
