package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Kubernetes learns its version from the linker. These follow the requirement
// of k8s.io/kubernetes in test/controlplane/go.mod; a test compares them.
const (
	kubeVersion = "v1.37.1"
	kubeMajor   = "1"
	kubeMinor   = "37"
)

const (
	// maxBuildJobs bounds compilers that run at once; a big package takes
	// more than 1 GB.
	maxBuildJobs = 4
	// progressEvery is the time between two signs of life.
	progressEvery = 10 * time.Second
)

// build makes tools in dir, one after the other. Each appears under its name
// only when it is complete.
func build(ctx context.Context, module, dir string, tools []tool, progress io.Writer) (err error) {
	// go's own temporary files, lest those of a killed build stay for good.
	tmp := filepath.Join(dir, "tmp")
	if err := errors.Join(os.RemoveAll(tmp), os.Mkdir(tmp, 0o700)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	for i, t := range tools {
		start := time.Now()
		report := func(format string, args ...any) {
			say(progress, "[%d/%d] %s: "+format, append([]any{i + 1, len(tools), t.name}, args...)...)
		}
		report("building")
		if err := buildOne(ctx, module, tmp, filepath.Join(dir, t.name), t.pkg, report); err != nil {
			return fmt.Errorf("building %s: %w", t.name, err)
		}
		report("done in %.0f s", time.Since(start).Seconds())
	}
	return nil
}

// buildOne builds pkg to path by way of tmp, telling report how it goes.
func buildOne(ctx context.Context, module, tmp, path, pkg string, report func(string, ...any)) error {
	partial := filepath.Join(tmp, filepath.Base(path))
	cmd := exec.Command("go", buildArgs(partial, pkg)...)
	cmd.Dir, cmd.Env = module, append(buildEnv(), "GOTMPDIR="+tmp, "GOGC=400") // compilers collect too often
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	cmd.Stdout, cmd.Stderr = write, write
	p, err := startTied(cmd)
	_ = write.Close() // the child has its own copy; ours would keep the pipe open
	if err != nil {
		return err
	}
	out := &buildOutput{}
	copied := make(chan struct{})
	go func() { defer close(copied); out.read(read) }()
	if err := watchBuild(ctx, p, out, report); err != nil {
		return err
	}
	<-copied
	if p.err != nil {
		return fmt.Errorf("%w\n%s", p.err, out.other.Bytes())
	}
	return os.Rename(partial, path)
}

// watchBuild reports progress until the build has ended or ctx is done.
func watchBuild(ctx context.Context, p *process, out *buildOutput, report func(string, ...any)) error {
	start := time.Now()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return nil
		case <-ctx.Done():
			p.killGroup() // go does not stop its compilers and linkers
			return context.Cause(ctx)
		case <-tick.C:
			report("%.0f s, %d packages compiled", time.Since(start).Seconds(), out.packages.Load())
		}
	}
}

// buildArgs returns the arguments of the go command that builds pkg to out. Of flags,
// as of the environment, it has those of the product's own build, so that packages of
// one version in both modules are compiled once: see TestSharedModules.
func buildArgs(out, pkg string) []string {
	jobs := strconv.Itoa(min(runtime.NumCPU(), maxBuildJobs))
	return []string{
		"build", "-v", "-buildvcs=false", "-p", jobs,
		"-ldflags", linkerFlags(), "-o", out, pkg,
	}
}

func linkerFlags() string {
	ld := []string{"-s", "-w"}
	for _, p := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for _, kv := range []string{
			"gitVersion=" + kubeVersion, "gitMajor=" + kubeMajor, "gitMinor=" + kubeMinor, "gitTreeState=clean",
		} {
			ld = append(ld, "-X", p+"."+kv)
		}
	}
	return strings.Join(ld, " ")
}

// buildEnv returns our environment without what would change the result. Where
// modules come from and where they are cached stays the caller's choice.
func buildEnv() []string {
	return append(os.Environ(),
		"GOFLAGS=-mod=readonly", // not empty: that would fall back to go env -w
		"GOWORK=off", "CGO_ENABLED=0", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH,
	)
}

// buildOutput digests what go build -v prints: the packages as they are
// compiled, and everything else.
type buildOutput struct {
	packages atomic.Int64
	other    bytes.Buffer // read it after the build
}

// maxBuildOutput bounds what is kept of error messages, in bytes.
const maxBuildOutput = 64 << 10

func (o *buildOutput) read(r io.Reader) {
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadString('\n')
		// An import path has no space; errors and downloads do.
		if word := strings.TrimSuffix(line, "\n"); word != "" && !strings.ContainsAny(word, " \t") {
			o.packages.Add(1)
		} else if o.other.Len() < maxBuildOutput {
			o.other.WriteString(line)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				fmt.Fprintln(&o.other, err)
			}
			return
		}
	}
}

// say writes one line of progress.
func say(w io.Writer, format string, args ...any) {
	if w != nil {
		fmt.Fprintf(w, "control plane: "+format+"\n", args...)
	}
}
