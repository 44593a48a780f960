package main

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

const (
	gatekeeperModule = "gitgate.dev/gitgate/test/bench/admission/gatekeeper"
	// gatekeeperPackage is the peer; its version is in the go.mod file of
	// gatekeeperModule.
	gatekeeperPackage = "github.com/open-policy-agent/gatekeeper/v3"
)

// A gatekeeperBuild is Gatekeeper, built, and the manifest it is shipped with.
type gatekeeperBuild struct{ binary, manifest string }

// buildGatekeeper builds Gatekeeper, unless <user cache>/gitgate/bench/<key> has
// it. The key stands for the pinned modules and the toolchain.
func buildGatekeeper(ctx context.Context, progress io.Writer) (*gatekeeperBuild, error) {
	root, err := repositoryRoot()
	if err != nil {
		return nil, err
	}
	module := filepath.Join(root, "test", "bench", "admission", "gatekeeper")
	if data, err := os.ReadFile(filepath.Join(module, "go.mod")); err != nil || !strings.HasPrefix(string(data), "module "+gatekeeperModule+"\n") {
		return nil, errors.Join(fmt.Errorf("%s is not the module %s", module, gatekeeperModule), err)
	}
	out, err := output(ctx, module, nil, "go", "list", "-mod=readonly", "-f", "{{.Dir}}", gatekeeperPackage)
	if err != nil {
		return nil, err
	}
	dir, err := buildCache(ctx, module)
	if err != nil {
		return nil, err
	}
	b := &gatekeeperBuild{
		binary:   filepath.Join(dir, "gatekeeper"),
		manifest: filepath.Join(strings.TrimSpace(string(out)), "deploy", "gatekeeper.yaml"),
	}
	if _, err := os.Stat(b.binary); err == nil {
		return b, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	stop := keepTelling(progress, "building Gatekeeper, once; minutes on two cores")
	defer stop()
	tmp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	built := filepath.Join(tmp, "gatekeeper")
	_, err = output(ctx, module, []string{"CGO_ENABLED=0", "GOTMPDIR=" + tmp},
		"go", "build", "-mod=readonly", "-buildvcs=false", "-ldflags", "-s -w", "-o", built, gatekeeperPackage)
	if err != nil {
		return nil, err
	}
	return b, os.Rename(built, b.binary)
}

func buildCache(ctx context.Context, module string) (string, error) {
	version, err := output(ctx, module, nil, "go", "env", "GOVERSION", "GOOS", "GOARCH")
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

// repositoryRoot is the directory of gitgate's go.mod: above this source file,
// or above the working directory if we were built with -trimpath.
func repositoryRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		start = filepath.Dir(file)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module gitgate.dev/gitgate\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("go.mod of gitgate above %s: %w", start, fs.ErrNotExist)
		}
	}
}

// keepTelling says what is being done, now and every quarter of a minute.
func keepTelling(w io.Writer, what string) (stop func()) {
	start := time.Now()
	fmt.Fprintf(w, "admission: %s\n", what)
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
				fmt.Fprintf(w, "admission: %s: %.0f s\n", what, time.Since(start).Seconds())
			}
		}
	}()
	return func() { close(ended); <-stopped }
}
