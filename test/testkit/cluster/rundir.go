package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// aliveFile is locked for as long as a cluster's directory is in use.
const aliveFile = "alive"

// A runDir is a directory that belongs to one cluster of one live process.
type runDir struct {
	path  string
	alive *os.File // holds the lock; the kernel drops it when we die
}

// newRunDir makes a directory below parent (os.TempDir() if empty) after
// removing those of dead processes.
func newRunDir(ctx context.Context, parent string) (*runDir, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	root := filepath.Join(parent, fmt.Sprintf("gitgate-cluster-%d", os.Getuid()))
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	if err := checkOwner(root); err != nil {
		return nil, err
	}
	// Under this lock a directory without a locked alive file is dead, never
	// merely young.
	gate, err := lockFile(ctx, filepath.Join(root, ".lock"))
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	if err := sweep(root); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(root, "run-")
	if err != nil {
		return nil, err
	}
	alive, err := lockFile(ctx, filepath.Join(dir, aliveFile))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &runDir{path: dir, alive: alive}, nil
}

// checkOwner refuses a directory that somebody else prepared for us in a
// shared temporary directory.
func checkOwner(dir string) error {
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || !fi.IsDir() || int(st.Uid) != os.Getuid() || fi.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s must be a directory that only we may use", dir)
	}
	return nil
}

// remove deletes the directory. It is safe to call twice.
func (d *runDir) remove() error {
	err := os.RemoveAll(d.path)
	_ = d.alive.Close() // closing twice is the only way this fails
	return err
}

// sweep removes every directory below root that no live process holds.
func sweep(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), "run-") {
			continue
		}
		dir := filepath.Join(root, e.Name())
		f, err := tryLockFile(filepath.Join(dir, aliveFile))
		if err != nil {
			continue // in use, or its owner is removing it right now
		}
		// A process that dies by SIGKILL may write for a moment yet; what is
		// left then is removed next time.
		_ = os.RemoveAll(dir)
		_ = f.Close()
	}
	return nil
}

// errLocked means that another process, or another part of this one, holds a
// lock.
var errLocked = errors.New("file is locked")

// tryLockFile takes an exclusive lock on a file, creating it if need be. The
// lock is held until the file is closed. Children do not inherit it.
func tryLockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", path, errLocked)
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return f, nil
}

// lockFile is tryLockFile, but waits until the lock is free or ctx is done.
func lockFile(ctx context.Context, path string) (*os.File, error) {
	for {
		f, err := tryLockFile(path)
		if !errors.Is(err, errLocked) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %s: %w", path, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
