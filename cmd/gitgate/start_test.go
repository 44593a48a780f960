package main

import (
	"bytes"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"

	"gitgate.dev/gitgate/cmd/gitgate/internal/start"
)

// TestStartComesFirst: what allocates most is initialized while the collector waits.
func TestStartComesFirst(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace bytes.Buffer
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	var order []string
	for line := range strings.Lines(trace.String()) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "init" {
			order = append(order, f[1])
		}
	}
	at := map[string]int{}
	for i, name := range order {
		at[name] = i + 1
	}
	first := at["gitgate.dev/gitgate/cmd/gitgate/internal/start"]
	for _, name := range []string{"github.com/open-policy-agent/opa/v1/ast", "k8s.io/client-go/kubernetes/scheme", "sigs.k8s.io/controller-runtime/pkg/client/apiutil"} {
		if first == 0 || at[name] == 0 || at[name] < first {
			t.Errorf("%s is initialized as number %d, and what holds the collector back as number %d", name, at[name], first)
		}
	}
}

// TestStartDone: with main the collector works as the environment would have it.
func TestStartDone(t *testing.T) {
	before := debug.SetGCPercent(50)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	start.Done()
	want := 100
	if os.Getenv("GOGC") != "" {
		want = 50
	}
	if got := debug.SetGCPercent(50); got != want {
		t.Errorf("GC percent %d, want %d", got, want)
	}
}
