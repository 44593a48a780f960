// Package racing knows whether the race detector watches.
package racing

import "testing"

// Skip skips a test under the race detector, which has nothing to find in it: it computes
// for long, and alone. It would take five to ten times as long. make test runs every
// package with such a test once more, without the detector; test/arch compares.
func Skip(tb testing.TB) {
	tb.Helper()
	if detected {
		tb.Skip("it computes alone: run it without -race, as make test does")
	}
}
