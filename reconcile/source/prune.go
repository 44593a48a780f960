package source

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	cloneSuffix = ".git"
	// goneSuffix marks a clone that is being removed, for whoever finds what a
	// crash left of it.
	goneSuffix = ".gone"
	// unusedFile lies in a clone that nobody refers to, since its time of
	// modification.
	unusedFile = "gitgate.unused"
	lockFile   = "gitgate.lock"
)

var cloneName = regexp.MustCompile(`^[0-9a-f]{32}\.(git|gone)$`)

// Prune removes the clones that were found unused before, that long ago, and still
// are: no URL of keep is theirs, no [Repository] of this process is open on them
// and no process writes to them. It notes since when the others are unused, so
// that the count goes on after a restart. With a clone goes the record of what was
// applied from it.
//
// It returns the canonical URLs of what it removed. An error about one clone does
// not keep it from the others.
func (c *Cache) Prune(keep []string, unusedFor time.Duration, now time.Time) (removed []string, err error) {
	kept := map[string]bool{}
	for _, raw := range keep {
		if u, err := ParseLoopbackURL(raw); err == nil { // no clone is of what is no URL
			kept[cloneDir(u.String())] = true
		}
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, fmt.Errorf("prune the cache of repositories: %w", err)
	}
	var failed []error
	for _, e := range entries {
		if !e.IsDir() || !cloneName.MatchString(e.Name()) {
			continue // not ours
		}
		name := strings.TrimSuffix(e.Name(), goneSuffix)
		if name == e.Name() {
			url, gone, err := c.retire(name, kept[name], unusedFor, now)
			if err != nil {
				failed = append(failed, err)
			}
			if !gone {
				continue
			}
			removed = append(removed, url)
			name = strings.TrimSuffix(name, cloneSuffix)
		}
		if err := os.RemoveAll(filepath.Join(c.dir, name+goneSuffix)); err != nil {
			failed = append(failed, err)
		}
	}
	return removed, errors.Join(failed...)
}

// retire moves a clone out of the way that has been unused for long enough.
func (c *Cache) retire(name string, keep bool, unusedFor time.Duration, now time.Time) (url string, gone bool, err error) {
	c.mu.Lock() // so that nobody opens it meanwhile
	defer c.mu.Unlock()
	dir := filepath.Join(c.dir, name)
	mark := filepath.Join(dir, unusedFile)
	if keep || c.users[name] > 0 {
		return "", false, removeFile(mark)
	}
	info, err := os.Stat(mark)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(mark, nil, 0o600); err != nil {
			return "", false, err
		}
		return "", false, os.Chtimes(mark, now, now)
	}
	if err != nil || now.Sub(info.ModTime()) < unusedFor {
		return "", false, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", false, err
	}
	defer closeQuietly(lock)
	if free, err := tryLock(lock); err != nil || !free {
		return "", false, err
	}
	if _, err := os.Stat(mark); err != nil {
		return "", false, nil // another process has used it just now
	}
	url = dir
	if raw, err := os.ReadFile(filepath.Join(dir, "description")); err == nil {
		url = strings.TrimSpace(string(raw))
	}
	target := strings.TrimSuffix(dir, cloneSuffix) + goneSuffix
	if err := os.RemoveAll(target); err != nil { // left by a crash
		return "", false, err
	}
	if err := os.Rename(dir, target); err != nil {
		return "", false, err
	}
	delete(c.clones, name)
	return url, true, nil
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
