package breakglass

import (
	"sync"
	"time"
)

// ClockSkew is by how much clocks may differ. A grant begins to count that much
// early; it never counts longer. It may be deleted that much after its expiry.
const ClockSkew = 30 * time.Second

// A clock never goes back: a grant that expired stays so when somebody sets the
// clock of the machine. One that was set ahead, and then right again, counts as
// ahead until the process is restarted.
type clock struct {
	// read returns the wall clock, and how long the process has been running by a
	// clock that nobody can set.
	read func() (wall time.Time, running time.Duration)

	mu     sync.Mutex
	latest time.Time
	at     time.Duration // when latest was read
}

func newClock() *clock {
	start := time.Now()
	return &clock{read: func() (time.Time, time.Duration) {
		t := time.Now()
		return t.Round(0), t.Sub(start)
	}}
}

// now is the wall clock, or where that was set back, the latest time that it
// showed and what has passed since.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, running := c.read()
	least := c.latest.Add(running - c.at)
	if !c.latest.IsZero() && wall.Before(least) {
		return least
	}
	c.latest, c.at = wall, running
	return wall
}
