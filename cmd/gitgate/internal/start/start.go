// Package start keeps the garbage collector from running while packages are
// initialized. Those that gitgate links allocate some 11 MB, nearly all of it for good:
// to collect meanwhile finds nothing and takes a sixth of a short command's time.
//
// Go initializes packages in the order of their paths as far as imports allow (The Go
// Programming Language Specification, "Program initialization"), and this one imports
// next to nothing: it comes before the packages that allocate most, those of Kubernetes
// and Open Policy Agent among them.
package start

import (
	"os"
	"runtime/debug"
)

// byEnvironment is the percentage of a process whose environment speaks for itself.
const byEnvironment = -2

var percent = hold()

func hold() int {
	if os.Getenv("GOGC") != "" {
		return byEnvironment
	}
	return debug.SetGCPercent(-1)
}

// Done lets the garbage collector run, as it would have without this package. Call it
// before anything that may take long. What is allocated then is more than Go waits for
// before it collects for the first time: who wants to wait for longer has to say so at once.
func Done() {
	if percent != byEnvironment {
		debug.SetGCPercent(percent)
	}
}
