package main_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/lab"
	"gitgate.dev/gitgate/test/testkit/registry"
)

// canary is a secret that must be seen nowhere but in the Secrets that hold it.
const canary = "correct-horse-battery-staple"

// An installation is the lab on which the attacks run, with one gitgate process
// that has to survive them all.
type installation struct {
	*lab.Lab
	server *lab.Server
	pid    int
	web    registry.Image // signed; every site runs it
	traces string         // a file that exists when gitgate ran a program
}

// shared starts the installation when the first test asks for it.
var shared = sync.OnceValues(func() (*installation, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	return install(ctx)
})

var started *installation

func install(ctx context.Context) (in *installation, err error) {
	dir, err := os.MkdirTemp("", "gitgate-attacks-")
	if err != nil {
		return nil, err
	}
	in = &installation{traces: filepath.Join(dir, "programs-run")}
	started = in
	binary, err := builtBinary()
	if err != nil {
		return nil, err
	}
	options := lab.Options{Gitgate: binary, Dir: dir, Cluster: cluster.Options{JSONStorage: true}}
	if in.Lab, err = lab.Start(ctx, options); err != nil {
		return nil, err
	}
	if in.web, err = in.SignedImage("acme/web:1.0"); err != nil {
		return nil, err
	}
	if err := in.serve(ctx); err != nil {
		return nil, err
	}
	in.pid = in.server.PID()
	return in, nil
}

var prebuilt = flag.String("gitgate", "", "the gitgate `binary` to attack; empty builds it")

// builtBinary builds gitgate once for all tests.
var builtBinary = sync.OnceValues(func() (string, error) {
	if *prebuilt != "" {
		return filepath.Abs(*prebuilt)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "gitgate-binary-")
	if err != nil {
		return "", err
	}
	return lab.Binary(ctx, dir, buildFlags...)
})

// serve starts gitgate where every program on PATH is a trap, and where the
// environment holds what naive tools would follow.
func (in *installation) serve(ctx context.Context) (err error) {
	bin := filepath.Join(in.Dir, "traps")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	script := []byte("#!/bin/sh\necho \"$0 $*\" >> '" + in.traces + "'\nexit 1\n")
	for _, name := range []string{"git", "ssh", "gpg", "gpg2", "sops", "helm", "kustomize", "docker", "age-plugin-canary", "sh-plugin"} {
		if err := os.WriteFile(filepath.Join(bin, name), script, 0o755); err != nil {
			return err
		}
	}
	for name, value := range map[string]string{
		"PATH": bin, "HOME": in.Dir, "VAULT_TOKEN": canary, "SOPS_GPG_EXEC": filepath.Join(bin, "gpg"),
		"SOPS_AGE_KEY_CMD": filepath.Join(bin, "sh-plugin"),
	} {
		old, had := os.LookupEnv(name)
		if err := os.Setenv(name, value); err != nil {
			return err
		}
		defer func() {
			if had {
				err = errors.Join(err, os.Setenv(name, old))
				return
			}
			err = errors.Join(err, os.Unsetenv(name))
		}()
	}
	in.server, err = in.Serve(ctx)
	return err
}

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard()) // what clients log is not what is tested
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "attacks:", err)
		code = 1
	}
	os.Exit(code)
}

// stop ends the installation and says what the attacks did to it as a whole.
func stop() error {
	if started == nil {
		return nil
	}
	var errs []error
	if started.server != nil {
		errs = append(errs, started.unharmed())
	}
	if started.Lab != nil {
		errs = append(errs, started.Close(), os.RemoveAll(started.Dir))
	}
	if binary, err := builtBinary(); err == nil && *prebuilt == "" {
		errs = append(errs, os.RemoveAll(filepath.Dir(binary)))
	}
	return errors.Join(errs...)
}

// unharmed fails when the process died, panicked, ran a program or told a secret.
func (in *installation) unharmed() error {
	var errs []error
	if !in.server.Alive() || in.server.PID() != in.pid {
		errs = append(errs, errors.New("gitgate did not survive"))
	}
	text, err := os.ReadFile(in.server.Log)
	errs = append(errs, err)
	for _, bad := range []string{"panic", "DATA RACE", "fatal error", canary} {
		if i := strings.Index(string(text), bad); i >= 0 {
			errs = append(errs, fmt.Errorf("the log holds %q: …%s", bad, text[max(0, i-500):min(len(text), i+1500)]))
		}
	}
	if ran, err := os.ReadFile(in.traces); err == nil {
		errs = append(errs, fmt.Errorf("gitgate ran programs:\n%s", ran))
	}
	return errors.Join(errs...)
}
