package bundle

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A cache keeps manifests and blobs in a directory, each in a file named after its
// digest; empty keeps none. It is no more trusted than a registry: what is read is
// hashed. Failing to write is no error.
type cache string

const (
	// maxManifest bounds a manifest that is read from the cache.
	maxManifest = 4 << 20
	// maxFiles bounds the files in the cache; those go first that were read last.
	maxFiles = 300
)

func (c cache) path(digest string) string {
	return filepath.Join(string(c), strings.Replace(digest, ":", "-", 1))
}

// get returns what hashes to a digest, nil if it is not there.
func (c cache) get(digest string, limit int64) []byte {
	if c == "" {
		return nil
	}
	f, err := os.Open(c.path(digest))
	if err != nil {
		return nil
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil || fmt.Sprintf("sha256:%x", sha256.Sum256(raw)) != digest {
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(f.Name(), now, now) // it is in use; if that cannot be noted it goes earlier
	return raw
}

func (c cache) put(digest string, raw []byte) {
	if c == "" || os.MkdirAll(string(c), 0o700) != nil {
		return
	}
	c.makeRoom()
	f, err := os.CreateTemp(string(c), "new-*")
	if err != nil {
		return
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(raw)
	if f.Close() != nil || err != nil {
		return
	}
	_ = os.Rename(f.Name(), c.path(digest)) // a cache: without it we ask again
}

// makeRoom removes what was used least recently.
func (c cache) makeRoom() {
	entries, err := os.ReadDir(string(c))
	if err != nil || len(entries) < maxFiles {
		return
	}
	type aged struct {
		path string
		at   time.Time
	}
	var files []aged
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			files = append(files, aged{filepath.Join(string(c), e.Name()), info.ModTime()})
		}
	}
	slices.SortFunc(files, func(a, b aged) int { return a.at.Compare(b.at) })
	for _, f := range files[:max(len(files)-maxFiles+1, 0)] {
		_ = os.Remove(f.path)
	}
}
