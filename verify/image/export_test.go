package image

import "time"

// SetNow sets the clock by which attestations are remembered.
func (v *Verifier) SetNow(now func() time.Time) { v.memory.now = now }
