package main

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
)

// TestCollectSeldom: the limit stays away from what is in use, or the collector would
// run without end.
func TestCollectSeldom(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
	t.Run("Environment", func(t *testing.T) {
		t.Setenv("GOMEMLIMIT", "1GiB")
		collectSeldom()
		if got := debug.SetGCPercent(100); got != 100 {
			t.Errorf("GC percent %d in spite of GOMEMLIMIT", got)
		}
	})
	collectSeldom()
	if got := debug.SetMemoryLimit(-1); got < commandMemory {
		t.Errorf("limit %d at the start", got)
	}
	used := make([]byte, 2*commandMemory)
	for range 10 { // the finalizer runs beside us
		runtime.GC()
		runtime.Gosched()
	}
	if got := debug.SetMemoryLimit(-1); got < 2*int64(len(used)) {
		t.Errorf("limit %d with %d bytes in use", got, len(used))
	}
	runtime.KeepAlive(used)
}
