package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// A command that judges and ends holds on to most of what it allocates until the stage
// that it is in has ended. Short ones end before it pays to look for what they do not.
const (
	// commandHeap is what the heap may grow to before garbage is collected.
	commandHeap = 44 << 20
	// commandGCPercent is how much more than what is in use may be claimed beyond that.
	commandGCPercent = 60
	// smallestHeap is what Go collects at in the beginning with a percentage of 100.
	smallestHeap = 4 << 20
)

// collectSeldom sets the garbage collector up for a command, unless the environment
// variables of Go say otherwise.
func collectSeldom() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(100 * commandHeap / smallestHeap)
	afterCollection(claimMore)
}

// claimMore sets the percentage by what is in use, after each collection.
func claimMore() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	debug.SetGCPercent(gcPercentFor(live[0].Value.Uint64()))
	afterCollection(claimMore)
}

// gcPercentFor lets a heap with so much in use grow to what commands may claim.
func gcPercentFor(live uint64) int {
	live = max(live, smallestHeap)
	if live >= commandHeap {
		return commandGCPercent
	}
	return max(commandGCPercent, int(100*(commandHeap-live)/live))
}

// afterCollection calls f once the next collection is over: what nobody holds is
// finalized then.
func afterCollection(f func()) { runtime.SetFinalizer(&[64]byte{}, func(*[64]byte) { f() }) }
