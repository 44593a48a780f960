package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// assetsEnv names the directory where controller-runtime's envtest keeps its
// binaries.
const assetsEnv = "KUBEBUILDER_ASSETS"

// keepUnused is how long the binaries of other versions stay in the cache
// after their last use.
const keepUnused = 30 * 24 * time.Hour

// A Bin holds the paths of the programs of a control plane.
type Bin struct {
	Etcd, APIServer, ControllerManager, Scheduler, Kwok string
}

// A tool is a program and the package that it is built from.
type tool struct{ name, pkg string }

var (
	etcdTool              = tool{"etcd", "go.etcd.io/etcd/server/v3"}
	apiServerTool         = tool{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"}
	controllerManagerTool = tool{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"}
	schedulerTool         = tool{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"}
	kwokTool              = tool{"kwok", "sigs.k8s.io/kwok/cmd/kwok"}
)

func allTools() []tool {
	return []tool{etcdTool, apiServerTool, controllerManagerTool, schedulerTool, kwokTool}
}

// Binaries returns the programs of a control plane, building what is missing.
//
// If the environment variable KUBEBUILDER_ASSETS names a directory with etcd
// and kube-apiserver, whatever is there is taken. The rest is built from the
// module test/controlplane into <user cache>/gitgate/controlplane/<key>, where
// key stands for the pinned versions, the platform and the toolchain. A cold
// build takes ten minutes on two cores; processes that need the same binaries
// wait for each other. Progress is told what is going on, unless it is nil or
// there is nothing to build.
func Binaries(ctx context.Context, progress io.Writer) (Bin, error) {
	return ensure(ctx, allTools(), progress)
}

// ensure is Binaries for some of the tools; the paths of others stay empty.
func ensure(ctx context.Context, tools []tool, progress io.Writer) (Bin, error) {
	paths := map[string]string{}
	missing := tools
	if dir := os.Getenv(assetsEnv); has(dir, etcdTool) && has(dir, apiServerTool) {
		missing = nil
		for _, t := range tools {
			if has(dir, t) {
				paths[t.name] = filepath.Join(dir, t.name)
			} else {
				missing = append(missing, t)
			}
		}
	}
	if len(missing) > 0 {
		dir, err := cached(ctx, missing, progress)
		if err != nil {
			return Bin{}, err
		}
		for _, t := range missing {
			paths[t.name] = filepath.Join(dir, t.name)
		}
	}
	return Bin{
		Etcd: paths[etcdTool.name], APIServer: paths[apiServerTool.name],
		ControllerManager: paths[controllerManagerTool.name],
		Scheduler:         paths[schedulerTool.name], Kwok: paths[kwokTool.name],
	}, nil
}

// has reports whether dir, which may be empty, holds the program of t.
func has(dir string, t tool) bool {
	if dir == "" {
		return false
	}
	fi, err := os.Stat(filepath.Join(dir, t.name))
	return err == nil && fi.Mode().IsRegular() && fi.Mode().Perm()&0o111 != 0
}

// cached returns the cache directory that holds tools, building those it lacks.
func cached(ctx context.Context, tools []tool, progress io.Writer) (string, error) {
	module, err := moduleDir()
	if err != nil {
		return "", err
	}
	key, err := cacheKey(ctx, module)
	if err != nil {
		return "", err
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	root := filepath.Join(user, "gitgate", "controlplane")
	dir := filepath.Join(root, key)
	lacks := func() []tool {
		return slices.DeleteFunc(slices.Clone(tools), func(t tool) bool { return has(dir, t) })
	}
	if len(lacks()) == 0 {
		now := time.Now()
		return dir, os.Chtimes(dir, now, now) // in use: see prune
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := waitForBuild(ctx, filepath.Join(root, key+".lock"), progress)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	// Another process may have built them while we waited.
	if err := build(ctx, module, dir, lacks(), progress); err != nil {
		return "", err
	}
	return dir, prune(root, key)
}

func waitForBuild(ctx context.Context, path string, progress io.Writer) (*os.File, error) {
	lock, err := tryLockFile(path)
	if !errors.Is(err, errLocked) {
		return lock, err
	}
	say(progress, "waiting for another process that builds the control plane")
	return lockFile(ctx, path)
}

// prune removes the binaries of other keys that nobody has used for long.
func prune(root, key string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil || !e.IsDir() || e.Name() == key || time.Since(fi.ModTime()) < keepUnused {
			continue
		}
		if err := os.RemoveAll(filepath.Join(root, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// cacheKey names a set of binaries by everything that goes into it.
func cacheKey(ctx context.Context, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION")
	cmd.Dir, cmd.Env = module, buildEnv()
	toolchain, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go env GOVERSION: %w", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %s %s", toolchain, runtime.GOOS, runtime.GOARCH)
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "\x00%s %d\x00%s", name, len(data), data)
	}
	fmt.Fprintf(h, "\x00%s", linkerFlags())
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// moduleDir finds test/controlplane. The path of this source file leads there
// except in a binary built with -trimpath; then the working directory does,
// which for a test is its package.
func moduleDir() (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		dir := filepath.Join(filepath.Dir(file), "..", "..", "controlplane")
		if isModule(dir) {
			return dir, nil
		}
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	return moduleAbove(wd)
}

// moduleAbove finds test/controlplane in dir or a directory above it.
func moduleAbove(dir string) (string, error) {
	for up := dir; ; up = filepath.Dir(up) {
		if dir := filepath.Join(up, "test", "controlplane"); isModule(dir) {
			return dir, nil
		}
		if up == filepath.Dir(up) {
			return "", fmt.Errorf("test/controlplane/go.mod above %s: %w", dir, fs.ErrNotExist)
		}
	}
}

func isModule(dir string) bool {
	data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && strings.HasPrefix(string(data), "module gitgate.dev/gitgate/test/controlplane\n")
}
