package measure

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// A Machine is where a benchmark ran, and how busy it was.
type Machine struct {
	CPUs      int     `json:"cpus"`
	Platform  string  `json:"platform"`
	Go        string  `json:"go"`
	LoadStart float64 `json:"loadBefore"` // of the minute before
	LoadEnd   float64 `json:"loadAfter"`
}

// ThisMachine is where we run. The caller calls [Machine.Finish] at the end.
func ThisMachine() Machine {
	return Machine{
		CPUs: runtime.NumCPU(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), LoadStart: loadAverage(),
	}
}

// Finish takes the load average again.
func (m *Machine) Finish() { m.LoadEnd = loadAverage() }

// Describe is one line for above a table; what says what was done.
func (m *Machine) Describe(what string) string {
	return fmt.Sprintf("%d CPUs, %s, %s; %s; load average %.1f before and %.1f after.", m.CPUs, m.Platform, m.Go, what, m.LoadStart, m.LoadEnd)
}

// loadAverage is the load of the last minute; zero where it is not known.
func loadAverage() float64 {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(data), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return load
}
