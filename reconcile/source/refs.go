package source

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
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

func (c *clone) writeRef(kind, name string, h plumbing.Hash) error {
	return c.writeFile(c.refFile(kind, name), []byte(h.String()+"\n"), kind == appliedRefs)
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
		h := tip
		for step := 1; step <= haveSteps; step++ {
			commit, err := object.GetCommit(o, h)
			if err != nil || len(commit.ParentHashes) == 0 {
				break
			}
			if h = commit.ParentHashes[0]; step&(step-1) == 0 {
				add(h)
			}
		}
	}
	return out, nil
}

// applied reads what SetApplied wrote.
func (c *clone) applied(owner string) (plumbing.Hash, error) {
	return readRefFile(c.refFile(appliedRefs, owner))
}

func (c *clone) setApplied(owner string, h plumbing.Hash) error {
	if err := c.layout(); err != nil {
		return err
	}
	if h == plumbing.ZeroHash {
		err := os.Remove(c.refFile(appliedRefs, owner))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("forget what was applied: %w", err)
		}
		return nil
	}
	return c.writeRef(appliedRefs, owner, h)
}
