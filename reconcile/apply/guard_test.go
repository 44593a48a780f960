package apply

import (
	"context"
	"testing"

	"gitgate.dev/gitgate/policy/verdict"
)

// TestPanicOverOneItem proves that a panic denies and neither ends the process nor
// keeps the other items from being looked at.
func TestPanicOverOneItem(t *testing.T) {
	found := each(t.Context(), 2, []int{1, 2, 3}, func(_ context.Context, n int) []verdict.Finding {
		if n == 2 {
			panic("canary")
		}
		return []verdict.Finding{{Reason: verdict.DryRunRejected, Severity: verdict.Deny, Message: "seen"}}
	})
	if len(found) != 3 {
		t.Fatalf("findings = %+v, want one for each item", found)
	}
	internal := 0
	for _, f := range found {
		if f.Reason == verdict.Internal && f.Severity.Blocks() {
			internal++
		}
	}
	if internal != 1 {
		t.Errorf("findings = %+v, want one Internal that blocks", found)
	}
}
