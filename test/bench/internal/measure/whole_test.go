package measure

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets the test binary be what it starts: a launcher, and a program that
// needs 16 MiB and 50 ms of the processor.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "launch":
		if err := Launch(os.Stdin, os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
	case len(os.Args) == 3 && os.Args[1] == "need":
		memory := bytes.Repeat([]byte{1}, 16<<20)
		spend()
		os.Stdout.WriteString(os.Args[2])
		os.Stderr.WriteString("HOME=" + os.Getenv("HOME") + " LOUD=" + os.Getenv("LOUD"))
		os.Exit(int(memory[len(memory)/2]) + 2)
	default:
		os.Exit(m.Run())
	}
}

// What a whole program costs is its own, however much memory we have.
func TestRun(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LOUD", "yes")
	ours := bytes.Repeat([]byte{1}, 256<<20)
	out := filepath.Join(t.TempDir(), "out")
	u, err := Command{Name: "child", Path: self, Args: []string{"need", "something"}, Dir: t.TempDir(), Stdout: out}.Run(t.Context(), self, "launch")
	if err != nil {
		t.Fatal(err)
	}
	if u.Exit != 3 || u.CPU < 0.05 || u.Seconds <= 0 {
		t.Errorf("%+v, want the exit code 3 and at least 0.05 s of processors", u)
	}
	if u.Peak < 16 || u.Peak > 200 || u.Anonymous < 16 || u.Anonymous >= u.Peak {
		t.Errorf("%+v, want the 16 MiB that it needs and not our %d", u, len(ours)>>20)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != "something" {
		t.Errorf("it printed %q, %v", got, err)
	}
	if got, err := os.ReadFile(out + ".err"); err != nil || string(got) != "HOME="+filepath.Dir(out)+" LOUD=" {
		t.Errorf("its environment is %q, %v", got, err)
	}
	_, err = Command{Name: "nobody", Path: filepath.Join(t.TempDir(), "nobody"), Stdout: out}.Run(t.Context(), self, "launch")
	if err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("a program that is not there: %v", err)
	}
}
