package source

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// The two kinds of references that a clone has. Their names are hashes of
// branches and owners: nothing that a remote or a user says becomes a file name
// (CVE-2025-21614).
const (
	headRefs    = "heads"
	appliedRefs = "applied"
)

// haveSteps bounds how far back ancestors are offered as known.
const haveSteps = 128

func (c *clone) refDir(kind string) string { return filepath.Join(c.dir, "refs", "gitgate", kind) }

func (c *clone) refFile(kind, name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(c.refDir(kind), hex.EncodeToString(sum[:20]))
}

// writeHead notes where a branch is. The lock must be held.
func (c *clone) writeHead(branch string, h plumbing.Hash) error {
	temp, err := os.CreateTemp(c.tempDir(), "ref-")
	if err != nil {
		return err
	}
	return writeFile(c.refFile(headRefs, branch), temp, []byte(h.String()+"\n"), false)
}

// readRefFile reads a reference; the zero hash if there is none.
func readRefFile(file string) (plumbing.Hash, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return plumbing.ZeroHash, nil
	}
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer closeQuietly(f)
	var buf [64]byte
	n, err := f.Read(buf[:])
	if err != nil {
		return plumbing.ZeroHash, damaged("reference %s cannot be read", filepath.Base(file))
	}
	line, end := strings.CutSuffix(string(buf[:n]), "\n")
	h, ok := parseHash(line)
	if !ok || !end {
		return plumbing.ZeroHash, damaged("reference %s holds no hash", filepath.Base(file))
	}
	return h, nil
}

// listRefs reads all references of a kind.
func (c *clone) listRefs(kind string) ([]plumbing.Hash, error) {
	files, err := os.ReadDir(c.refDir(kind))
	if err != nil {
		return nil, err
	}
	var out []plumbing.Hash
	for _, f := range files {
		h, err := readRefFile(filepath.Join(c.refDir(kind), f.Name()))
		if err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, nil
}

func (c *clone) dropHeads() error {
	files, err := os.ReadDir(c.refDir(headRefs))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.RemoveAll(filepath.Join(c.refDir(headRefs), f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// haves lists commits that the remote need not send again: what was fetched
// last, for every branch, and ancestors at growing distance in case the remote
// rewrote its history.
func (c *clone) haves() ([]plumbing.Hash, error) {
	tips, err := c.listRefs(headRefs)
	if err != nil {
		return nil, err
	}
	o := c.objects()
	var out []plumbing.Hash
	seen := map[plumbing.Hash]bool{}
	add := func(h plumbing.Hash) {
		if !seen[h] && o.HasEncodedObject(h) == nil {
			seen[h] = true
			out = append(out, h)
		}
	}
	for _, tip := range tips {
		add(tip)
		for h, step := tip, 1; step <= haveSteps; step++ {
			var ok bool
			if h, ok = o.firstParent(h); !ok {
				break
			}
			if step&(step-1) == 0 {
				add(h)
			}
		}
	}
	return out, nil
}

// firstParent returns a commit's first parent, if it has one and is one.
func (o *Objects) firstParent(h plumbing.Hash) (parent plumbing.Hash, ok bool) {
	commit, err := o.read(h)
	if err != nil || commit.kind != plumbing.CommitObject {
		return plumbing.ZeroHash, false
	}
	n := 0
	links(commit.kind, commit.data, func(to plumbing.Hash) bool {
		n++
		parent = to
		return n < 2 // the tree comes first
	})
	return parent, n == 2
}

// applied reads what SetApplied wrote.
func (c *clone) applied(owner string) (plumbing.Hash, error) {
	return readRefFile(c.refFile(appliedRefs, owner))
}

// setApplied takes no lock, lest it wait for a fetch. So its temporary file is
// not where the holder of the lock sweeps.
func (c *clone) setApplied(owner string, h plumbing.Hash) error {
	if err := c.layout(); err != nil {
		return err
	}
	file := c.refFile(appliedRefs, owner)
	if h == plumbing.ZeroHash {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return syncDir(filepath.Dir(file))
	}
	temp, err := os.OpenFile(file+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return writeFile(file, temp, []byte(h.String()+"\n"), true)
}
