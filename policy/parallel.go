package policy

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// sideBySide does something for each element, on all processors, and returns the
// results in their order. A panic is the caller's.
func sideBySide[E, R any](of []E, do func(E) R) []R {
	out := make([]R, len(of))
	var next atomic.Int64
	var failed atomic.Pointer[any]
	var working sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(of)) {
		working.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					failed.Store(&p)
				}
			}()
			for i := next.Add(1) - 1; int(i) < len(of) && failed.Load() == nil; i = next.Add(1) - 1 {
				out[i] = do(of[i])
			}
		})
	}
	working.Wait()
	if p := failed.Load(); p != nil {
		panic(*p)
	}
	return out
}

// begin does something on a goroutine of its own. What it returns waits until that is
// done, and returns what it panicked with.
func begin(do func()) (wait func() (panicked any)) {
	done := make(chan any, 1)
	go func() {
		defer func() { done <- recover() }()
		do()
	}()
	return func() any { return <-done }
}
