package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// A command that judges and ends holds on to nearly all that it allocates for long.
// Collecting as often as a server does would find little, and take a fifth of its time.
const (
	// commandMemory is what a command may use before it collects in earnest.
	commandMemory = 192 << 20
	// commandGCPercent is how much more than what is in use may be claimed until then.
	commandGCPercent = 400
)

// collectSeldom sets the garbage collector up for a command, unless the environment
// variables of Go say otherwise.
func collectSeldom() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(commandGCPercent)
	limitMemory()
}

// limitMemory sets the limit by what is in use, now and after each collection: a limit
// near to that would have the collector run without end.
func limitMemory() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	used := int64(live[0].Value.Uint64()) // bytes in memory fit
	debug.SetMemoryLimit(max(commandMemory, 2*used+commandMemory/4))
	// What nobody holds is finalized by the next collection.
	runtime.SetFinalizer(&[64]byte{}, func(*[64]byte) { limitMemory() })
}
