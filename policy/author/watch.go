package author

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long a change has to be over: an editor saves in several steps.
const settle = 100 * time.Millisecond

// Watch calls run at once, and again whenever a policy, a manifest or a directory
// below the directories changed, until ctx ends, which is no error. It fails where
// a directory cannot be watched.
func Watch(ctx context.Context, dirs []string, run func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching for changes: %w", err)
	}
	defer w.Close()
	for _, dir := range dirs {
		if err := watchBelow(w, dir); err != nil {
			return fmt.Errorf("watching %s: %w", dir, err)
		}
	}
	run()
	quiet := time.NewTimer(settle)
	quiet.Stop()
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-w.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("watching for changes: %w", err)
			}
			quiet.Reset(settle) // something changed, whatever it was
		case e := <-w.Events:
			if info, err := os.Lstat(e.Name); err == nil && info.IsDir() && e.Has(fsnotify.Create) {
				if err := watchBelow(w, e.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("watching %s: %w", e.Name, err)
				}
				quiet.Reset(settle)
			}
			if relevant(e.Name) && !e.Op.Has(fsnotify.Chmod) {
				quiet.Reset(settle)
			}
		case <-quiet.C:
			run()
		}
	}
}

// relevant reports whether a file may change the outcome of tests.
func relevant(file string) bool {
	return !strings.HasPrefix(filepath.Base(file), ".") &&
		slices.Contains([]string{".rego", ".yaml", ".yml", ".json", ""}, filepath.Ext(file))
}

func watchBelow(w *fsnotify.Watcher, dir string) error {
	return filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		case at != dir && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		}
		return w.Add(at)
	})
}
