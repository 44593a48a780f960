package measure

import (
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSeries(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		s      Series
		want   string
	}{
		"Nothing": {"A program that was left out has an empty cell.", nil, ""},
		"One":     {"One value has no range.", Series{2}, "2 s"},
		"Odd":     {"The middle value counts, not the mean.", Series{1, 100, 2}, "2 (1–100) s"},
		"Even":    {"Of two middle values, what is between.", Series{4, 1, 2, 3}, "2.50 (1–4) s"},
		"Alike":   {"Values that print alike are no range.", Series{1.00001, 1.00002}, "1.00 s"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.s.Format("s"); got != tc.want {
				t.Errorf("%s\nFormat = %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
	if got := (Series{8, 9}).Per(Series{2, 3, 4}); len(got) != 2 || got[0] != 4 || got[1] != 3 {
		t.Errorf("Per = %v, want round by round", got)
	}
	if !math.IsNaN(Series(nil).Median()) {
		t.Error("nothing has a median")
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1234.6: "1235", 12.345: "12.3", 1.2345: "1.23", 0.012345: "0.0123", 0.000012345: "0.0000", 2000: "2000",
		math.NaN(): "–", math.Inf(1): "–",
	} {
		if got := Number(v); got != want {
			t.Errorf("Number(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestVerdict(t *testing.T) {
	yes, no := true, false
	for name, tc := range map[string]struct {
		goal string
		met  *bool
		want string
	}{"NoGoal": {"", &yes, ""}, "Met": {"x", &yes, "met"}, "Missed": {"x", &no, "**missed**"}, "Unknown": {"x", nil, "not known"}} {
		t.Run(name, func(t *testing.T) {
			if got := Verdict(tc.goal, tc.met); got != tc.want {
				t.Errorf("Verdict = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestReplaceIn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	begin, end := Markers("one")
	otherBegin, otherEnd := Markers("other")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a\n" + otherBegin + "x\n" + otherEnd + begin + "old\n" + end + "b\n")
	if err := ReplaceIn(file, "one", "new\n"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if want := "a\n" + otherBegin + "x\n" + otherEnd + begin + "new\n" + end + "b\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	write("a\n" + begin + "old\n")
	if err := ReplaceIn(file, "one", "new\n"); err == nil {
		t.Error("a file with half of the markers was changed")
	}
}

// A process that runs on has memory and has used the processor; one that has
// ended has neither, and its last words are in the error.
func TestProcess(t *testing.T) {
	if os.Getenv("MEASURE_CHILD") != "" {
		spend()
		os.Stdout.WriteString("ready\n")
		select {}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Program{
		Name: "child", Path: self, Args: []string{"-test.run=^TestProcess$"}, Env: []string{"MEASURE_CHILD=1"},
		Log: filepath.Join(t.TempDir(), "log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	for !strings.Contains(p.Tail(), "ready") {
		select {
		case <-p.Done():
			t.Fatal(p.Explain(errors.New("it has ended")))
		case <-time.After(time.Millisecond):
		}
	}
	m, err := p.Memory()
	if err != nil || m.Resident <= m.Anonymous || m.Anonymous <= 0 || m.Most < m.Resident {
		t.Errorf("memory %+v, %v", m, err)
	}
	if cpu, err := p.CPU(); err != nil || cpu < 40e6 {
		t.Errorf("processor time %s, %v, want at least the 50 ms that it spent", cpu, err)
	}
	p.Stop()
	if _, err := p.Memory(); err == nil {
		t.Error("a process that has ended has memory")
	}
}

// A peer is built from a module that is its own.
func TestPeerModule(t *testing.T) {
	if dir, err := (Peer{Module: "test/bench/flux"}).Dir(); err != nil || filepath.Base(dir) != "flux" {
		t.Errorf("Dir = %q, %v", dir, err)
	}
	if dir, err := (Peer{Module: "."}).Dir(); err == nil {
		t.Errorf("the module of gitgate is taken for a peer: %s", dir)
	}
}

func TestOutput(t *testing.T) {
	out, err := Output(t.Context(), t.TempDir(), []string{"SAID=so"}, "sh", "-c", "echo $SAID")
	if err != nil || string(out) != "so\n" {
		t.Errorf("Output = %q, %v", out, err)
	}
	if _, err := Output(t.Context(), t.TempDir(), nil, "sh", "-c", "echo no >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "no") {
		t.Errorf("error %v, want what it said", err)
	}
}

func TestPrint(t *testing.T) {
	for format, want := range map[string]string{"text": "table\n", "json": "{\n  \"cpus\": 0,"} {
		var b strings.Builder
		if err := Print(&b, format, Machine{}, "table\n"); err != nil || !strings.HasPrefix(b.String(), want) {
			t.Errorf("%s: %q, %v", format, b.String(), err)
		}
	}
	if err := Print(failing{}, "text", nil, "table\n"); err == nil {
		t.Error("nobody noticed that nothing was written")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
