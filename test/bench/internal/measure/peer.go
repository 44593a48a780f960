package measure

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// rootModule is the first line of gitgate's go.mod file.
const rootModule = "gitgate.dev/gitgate"

// A Peer is a program that gitgate is compared with. Its version is in the go.mod
// file of a module that holds nothing else.
type Peer struct {
	Name    string // in messages
	Module  string // below gitgate's own, as in test/bench/flux
	Package string // of the program
	Binary  string // the name of its file
}

// Dir is the directory of the peer's module.
func (p Peer) Dir() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	dir, want := filepath.Join(root, filepath.FromSlash(p.Module)), rootModule+"/"+p.Module
	if data, err := os.ReadFile(filepath.Join(dir, "go.mod")); err != nil || !strings.HasPrefix(string(data), "module "+want+"\n") {
		return "", errors.Join(fmt.Errorf("%s is not the module %s", dir, want), err)
	}
	return dir, nil
}

// Build builds the peer and returns the path of its binary, unless <user
// cache>/gitgate/bench/<key> has it. The key stands for the pinned modules and
// the toolchain.
func (p Peer) Build(ctx context.Context, tell Teller) (string, error) {
	module, err := p.Dir()
	if err != nil {
		return "", err
	}
	dir, err := peerCache(ctx, module)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, p.Binary)
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	stop := tell.Keep("building " + p.Name + ", once; minutes on two cores")
	defer stop()
	tmp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	built := filepath.Join(tmp, p.Binary)
	_, err = Output(ctx, module, []string{"CGO_ENABLED=0", "GOTMPDIR=" + tmp},
		"go", "build", "-mod=readonly", "-buildvcs=false", "-ldflags", "-s -w", "-o", built, p.Package)
	if err != nil {
		return "", err
	}
	return binary, os.Rename(built, binary)
}

func peerCache(ctx context.Context, module string) (string, error) {
	version, err := Output(ctx, module, nil, "go", "env", "GOVERSION", "GOOS", "GOARCH")
	if err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write(version)
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "\x00%s %d\x00%s", name, len(data), data)
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(user, "gitgate", "bench", fmt.Sprintf("%x", h.Sum(nil)[:8])), nil
}

// Root is the directory of gitgate's go.mod: above this source file, or above the
// working directory if we were built with -trimpath.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		start = filepath.Dir(file)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module "+rootModule+"\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("go.mod of gitgate above %s: %w", start, fs.ErrNotExist)
		}
	}
}

// A Teller tells what a benchmark is doing.
type Teller struct {
	Out    io.Writer
	Prefix string // of every line, the name of the benchmark
}

// Say prints a line.
func (t Teller) Say(format string, args ...any) {
	fmt.Fprintf(t.Out, t.Prefix+": "+format+"\n", args...)
}

// Keep says what is being done, now and every quarter of a minute until it is
// stopped.
func (t Teller) Keep(what string) (stop func()) {
	start := time.Now()
	t.Say("%s", what)
	ended, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(15 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				t.Say("%s: %.0f s", what, time.Since(start).Seconds())
			}
		}
	}()
	return func() { close(ended); <-stopped }
}
