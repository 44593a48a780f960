package breakglass

import (
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func TestClockNeverGoesBack(t *testing.T) {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var wall, running time.Duration
	c := newClock()
	c.read = func() (time.Time, time.Duration) { return noon.Add(wall), running }
	for _, step := range []struct {
		reason              string
		wall, running, want time.Duration
	}{
		{"As it is.", 0, 0, 0},
		{"Time passes.", time.Minute, time.Minute, time.Minute},
		{"The clock is set back: what passed still counts.", -time.Hour, 2 * time.Minute, 2 * time.Minute},
		{"And goes on from there.", -time.Hour + 10*time.Minute, 12 * time.Minute, 12 * time.Minute},
		{"The machine slept: the wall clock knows.", 5 * time.Hour, 13 * time.Minute, 5 * time.Hour},
		{"Set back again.", 0, 14 * time.Minute, 5*time.Hour + time.Minute},
	} {
		wall, running = step.wall, step.running
		if got := c.now().Sub(noon); got != step.want {
			t.Errorf("%s\nnow() is %s after noon, want %s", step.reason, got, step.want)
		}
	}
}

func TestClockOfTheMachine(t *testing.T) {
	before := time.Now().Round(0)
	if got := newClock().now(); got.Before(before) || got.Sub(before) > time.Minute {
		t.Errorf("now() = %s at %s", got, before)
	}
}

func TestUsesAreBounded(t *testing.T) {
	var u uses
	for i := range 3 * maxUses {
		uid := types.UID(strconv.Itoa(i))
		if !u.first(uid) || u.first(uid) {
			t.Fatalf("request %d is not told from its repetition", i)
		}
	}
	if len(u.seen) > maxUses || len(u.ring) != maxUses {
		t.Errorf("%d requests are remembered, more than %d", len(u.seen), maxUses)
	}
	for range 2 {
		if !u.first("") {
			t.Error("requests without a UID are taken for one")
		}
	}
}
