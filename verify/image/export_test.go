package image

import (
	"testing"
	"time"
)

// SetDiskBytes bounds the directory of proofs until the test ends.
func SetDiskBytes(t *testing.T, most int64) {
	former := maxDiskBytes
	maxDiskBytes = most
	t.Cleanup(func() { maxDiskBytes = former })
}

// SetNow sets the clock by which attestations are remembered.
func (v *Verifier) SetNow(now func() time.Time) { v.memory.now = now }
