package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestCollectSeldom: small heaps are left alone, and large ones are collected often.
func TestCollectSeldom(t *testing.T) {
	percent := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	t.Run("Environment", func(t *testing.T) {
		t.Setenv("GOMEMLIMIT", "1GiB")
		collectSeldom()
		if got := debug.SetGCPercent(100); got != 100 {
			t.Errorf("GC percent %d in spite of GOMEMLIMIT", got)
		}
	})
	collectSeldom()
	if got := debug.SetGCPercent(99); got < 1000 {
		t.Errorf("%d percent of the first 4 MiB at the start", got)
	}
	used := make([]byte, 2*commandHeap)
	runtime.GC()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // the finalizer runs beside us
		got := debug.SetGCPercent(99)
		if got == commandGCPercent {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d percent with %d bytes in use", got, len(used))
		}
	}
	runtime.KeepAlive(used)
}

func TestGCPercentFor(t *testing.T) {
	for live, want := range map[uint64]int{
		0:                   100*commandHeap/smallestHeap - 100,
		commandHeap / 4:     300,
		commandHeap / 2:     100,
		commandHeap / 4 * 3: commandGCPercent,
		commandHeap:         commandGCPercent,
		1 << 30:             commandGCPercent,
		1 << 45:             commandGCPercent,
		commandHeap - 1:     commandGCPercent,
	} {
		if got := gcPercentFor(live); got != want {
			t.Errorf("%d percent with %d bytes in use, want %d", got, live, want)
		}
	}
}
