package apply_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

func timeout(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// containsLine reports whether one of the lines of text is line.
func containsLine(text, line string) bool {
	return slices.Contains(strings.Split(text, "\n"), line)
}
