// Command demo shows the main job of gitgate on a control plane of its own: what
// goes live, what is quarantined and why, what is corrected. It runs the real
// binary and fails if any step does not happen as told.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/lab"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run() error {
	gitgate := flag.String("gitgate", "bin/gitgate", "the gitgate `binary` to run")
	keep := flag.Bool("keep", false, "leave everything running at the end, to go on by hand")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	binary, err := filepath.Abs(*gitgate)
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("%w: run make build first", err)
	}

	return show(ctx, os.Stdout, binary, *keep)
}

// show sets everything up, plays the acts and tidies up.
func show(ctx context.Context, w io.Writer, binary string, keep bool) error {
	out := newTranscript(w)
	out.title("Setting up")
	setup, cancel := context.WithTimeout(ctx, 30*time.Minute) // the first run builds the control plane
	defer cancel()
	l, err := lab.Start(setup, lab.Options{Gitgate: binary, Cluster: cluster.Options{Nodes: 1, ControllerManager: true}, Progress: out.progress()})
	if err != nil {
		return err
	}
	d := &demo{Lab: l, out: out}
	err = d.play(ctx)
	if err == nil && keep {
		err = d.stay(ctx)
	}
	return errors.Join(err, l.Close())
}

// play goes through the acts.
func (d *demo) play(ctx context.Context) error {
	start := time.Now()
	if err := d.begin(ctx); err != nil {
		return err
	}
	for _, a := range d.acts() {
		d.out.title(a.title)
		ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
		err := a.play(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", a.title, err)
		}
	}
	d.out.end("Everything happened as told, in %.0fs.", time.Since(start).Seconds())
	return nil
}

// stay waits for an interrupt and says how to go on.
func (d *demo) stay(ctx context.Context) error {
	keys := filepath.Join(d.Dir, "keys")
	if err := d.writeKeys(keys); err != nil {
		return err
	}
	d.out.end("Left running; press Ctrl-C to end it.")
	d.out.line("export KUBECONFIG=%s", d.Cluster.Kubeconfig())
	d.out.line("git clone %s        # the bare repository that is served as %s", d.Repo.Dir, d.URL())
	d.out.line("ls %s        # alice.asc and bob sign commits, cosign.key signs images, age.agekey reads secrets", keys)
	d.out.line("registry: %s", d.Registry.Host())
	d.out.line("gitgate's log: %s", d.server.Log)
	<-ctx.Done()
	return nil
}

func (d *demo) writeKeys(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	bob, err := d.Bob.Private()
	if err != nil {
		return err
	}
	cosign, err := d.Release.Private()
	if err != nil {
		return err
	}
	for name, content := range map[string]string{
		"alice.asc": d.Alice.Private(), "bob": bob,
		"cosign.key": cosign, "cosign.pub": d.Release.Public, "age.agekey": string(d.Age.PrivateKey()),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}
