package author_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"gitgate.dev/gitgate/policy/author"
)

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	runs, ended := make(chan bool, 16), make(chan error, 1)
	go func() { ended <- author.Watch(ctx, []string{dir}, func() { runs <- true }) }()
	<-runs // at once
	for _, step := range []func() error{
		func() error { return os.WriteFile(filepath.Join(dir, "a.rego"), []byte("package a\n"), 0o644) },
		func() error { return os.Mkdir(filepath.Join(dir, "sub"), 0o755) },
		func() error { return os.WriteFile(filepath.Join(dir, "sub", "b.yaml"), []byte("a: 1\n"), 0o644) },
		func() error { return os.Rename(filepath.Join(dir, "a.rego"), filepath.Join(dir, "b.rego")) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		<-runs // the test ends by its own time limit where nothing runs
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Watch() = %v after its context ended", err)
	}
}

func TestWatchGone(t *testing.T) {
	if err := author.Watch(t.Context(), []string{filepath.Join(t.TempDir(), "gone")}, func() { t.Error("ran") }); err == nil {
		t.Error("a directory that is not there is watched")
	}
}
