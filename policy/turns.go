package policy

import "time"

// jobs hands evaluations to goroutines that have ended another one, if any waits.
var jobs = make(chan func())

// idleTime is how long a goroutine waits for its next evaluation.
const idleTime = 5 * time.Second

// onGrownStack runs f on a goroutine whose stack has grown already, if there is
// one: OPA recurses deeply, and growing a stack copies it again and again.
func onGrownStack(f func()) {
	select {
	case jobs <- f:
		return
	default:
	}
	go func() {
		idle := time.NewTimer(idleTime)
		defer idle.Stop()
		for {
			f()
			idle.Reset(idleTime)
			select {
			case f = <-jobs:
			case <-idle.C:
				return
			}
		}
	}()
}
