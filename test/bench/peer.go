package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
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
	fluxModule = "gitgate.dev/gitgate/test/bench/flux"
	fluxBinary = "kustomize-controller"
	// fluxPackage is the peer; its version is in the go.mod file of fluxModule.
	fluxPackage = "github.com/fluxcd/kustomize-controller"
	// sourcePackage has the CRDs of sources. It is not built, and so it is pinned
	// here: a requirement would change what the peer is built from.
	sourcePackage = "github.com/fluxcd/source-controller@v1.9.6"
	sourceSum     = "h1:nG534/bI6nVpyHra7ONAk6xDB3xPsVT+EOLHZHXPrrc="
)

// A peer is Flux, built.
type peer struct {
	binary string
	crds   []string // directories of manifests
}

// buildPeer builds Flux, unless <user cache>/gitgate/bench/<key> has it. The key
// stands for the pinned modules and the toolchain.
func buildPeer(ctx context.Context, progress io.Writer) (*peer, error) {
	module, err := fluxModuleDir()
	if err != nil {
		return nil, err
	}
	dir, err := peerCache(ctx, module)
	if err != nil {
		return nil, err
	}
	p := &peer{binary: filepath.Join(dir, fluxBinary)}
	for _, m := range []struct{ path, sum string }{{fluxPackage, ""}, {sourcePackage, sourceSum}} {
		crds, err := moduleCRDs(ctx, module, m.path, m.sum)
		if err != nil {
			return nil, err
		}
		p.crds = append(p.crds, crds)
	}
	if _, err := os.Stat(p.binary); err == nil {
		return p, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	stop := keepTelling(progress, "building Flux's "+fluxBinary+", once; minutes on two cores")
	defer stop()
	tmp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	built := filepath.Join(tmp, fluxBinary)
	_, err = output(ctx, module, []string{"CGO_ENABLED=0", "GOTMPDIR=" + tmp},
		"go", "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", built, fluxPackage)
	if err != nil {
		return nil, err
	}
	return p, os.Rename(built, p.binary)
}

// moduleCRDs downloads a module and returns the directory of its CRDs. With a
// sum, the module must have it; otherwise go.sum vouches for it.
func moduleCRDs(ctx context.Context, module, path, sum string) (string, error) {
	out, err := output(ctx, module, nil, "go", "mod", "download", "-json", path)
	if err != nil {
		return "", err
	}
	var m struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &m); err != nil {
		return "", err
	}
	if sum != "" && m.Sum != sum {
		return "", fmt.Errorf("%s has the checksum %s, want %s", path, m.Sum, sum)
	}
	return filepath.Join(m.Dir, "config", "crd", "bases"), nil
}

func peerCache(ctx context.Context, module string) (string, error) {
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
// or above the working directory if bench was built with -trimpath.
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

func fluxModuleDir() (string, error) {
	root, err := repositoryRoot()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "test", "bench", "flux")
	data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err == nil && !strings.HasPrefix(string(data), "module "+fluxModule+"\n") {
		err = errors.New("not the module " + fluxModule)
	}
	return dir, err
}

// keepTelling says what is being done, now and every quarter of a minute.
func keepTelling(w io.Writer, what string) (stop func()) {
	start := time.Now()
	fmt.Fprintf(w, "bench: %s\n", what)
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
				fmt.Fprintf(w, "bench: %s: %.0f s\n", what, time.Since(start).Seconds())
			}
		}
	}()
	return func() { close(ended); <-stopped }
}
