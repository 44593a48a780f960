// Package parity proves that the doors of gitgate give one answer: each commit of a
// corpus goes through gitgate check and through the reconciler, objects go through
// the webhook, and the findings have to be the same, byte for byte, once what only
// one door can know is taken off; see doors_test.go for what that is.
//
// The binary, the control plane, the Git server and the registries are real.
package parity

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"gitgate.dev/gitgate/test/testkit/lab"
)

const (
	// patience bounds one step, on a machine that is busy.
	patience = 3 * time.Minute
	// together is how many commits are judged at once. Most of the time one waits
	// for the server.
	together = "12"
)

var prebuilt = flag.String("gitgate", "", "the gitgate `binary` to test; empty builds it")

// A world is the installation that all tests share, with everything that the
// commits of the corpus refer to.
type world struct {
	*lab.Lab
	people people
	images images
	// keys is the file with the keys that decrypt, for gitgate check.
	keys string
	home string // of gitgate check: empty
	// decisions is the decision log of the webhook, once it runs.
	decisions string

	mu  sync.Mutex
	ran map[string]answers // by the name of the trial
}

var started *world

// shared starts the installation when the first test asks for it.
var shared = sync.OnceValues(func() (*world, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	started = &world{ran: map[string]answers{}}
	return started, started.start(ctx)
})

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard()) // what clients log is not what is tested
	flag.Parse()
	if err := flag.Set("test.parallel", together); err != nil {
		panic(err) // the flag is the testing package's own
	}
	code := m.Run()
	if err := stop(code != 0); err != nil {
		fmt.Fprintln(os.Stderr, "parity:", err)
		code = 1
	}
	os.Exit(code)
}

func stop(failed bool) error {
	if started == nil || started.Lab == nil {
		return nil
	}
	if s := started.Server(); failed && s != nil {
		fmt.Fprintf(os.Stderr, "gitgate's log ends:\n%s\n", s.LogTail(8<<10))
	}
	started.images.close()
	return errors.Join(started.Close(), os.RemoveAll(started.Dir))
}

// begin returns the installation.
func begin(t *testing.T) *world {
	t.Helper()
	w, err := shared()
	if err != nil {
		t.Fatalf("no installation: %v", err)
	}
	return w
}

func (w *world) start(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "gitgate-parity-")
	if err != nil {
		return err
	}
	binary := *prebuilt
	if binary == "" {
		if binary, err = lab.Binary(ctx, dir); err != nil {
			return err
		}
	}
	if w.Lab, err = lab.Start(ctx, lab.Options{Gitgate: binary, Dir: dir}); err != nil {
		return err
	}
	w.keys, w.home = filepath.Join(dir, "age.txt"), filepath.Join(dir, "home")
	if err := errors.Join(os.WriteFile(w.keys, w.Age.PrivateKey(), 0o600), os.Mkdir(w.home, 0o700)); err != nil {
		return err
	}
	if w.people, err = newPeople(); err != nil {
		return err
	}
	if err := w.pushImages(); err != nil {
		return err
	}
	if err := w.Client.Create(ctx, houseRules()); err != nil {
		return err
	}
	_, err = w.Serve(ctx, "--concurrency", together)
	return err
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
