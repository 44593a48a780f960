package source

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
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

// earlierDir holds what was in force before what is applied now.
const earlierDir = "gitgate.earlier"

// hashLine is the length of a hash with the end of its line.
const hashLine = 41

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
		if err := errors.Join(removeFile(file), removeFile(c.earlierFile(owner))); err != nil {
			return err
		}
		return syncDir(filepath.Dir(file))
	}
	return replaceFile(file, []byte(h.String()+"\n"))
}

// replaceFile replaces a file so that it outlasts a power failure. Only one writer
// may be at it.
func replaceFile(file string, content []byte) error {
	temp, err := os.OpenFile(file+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return writeFile(file, temp, content, true)
}

// earlierFile is no reference: git would complain of one with several hashes.
func (c *clone) earlierFile(owner string) string {
	return filepath.Join(c.dir, earlierDir, filepath.Base(c.refFile(appliedRefs, owner)))
}

// setEarlier replaces the list. It takes no lock, as setApplied.
func (c *clone) setEarlier(owner string, heads []plumbing.Hash) error {
	file := c.earlierFile(owner)
	if err := errors.Join(c.layout(), os.MkdirAll(filepath.Dir(file), 0o700)); err != nil {
		return err
	}
	var list strings.Builder
	for _, h := range heads[max(0, len(heads)-MaxEarlier):] {
		list.WriteString(h.String() + "\n")
	}
	return replaceFile(file, []byte(list.String()))
}

// earlier reads what setEarlier wrote; nil for anything else.
func (c *clone) earlier(owner string) []plumbing.Hash {
	f, err := os.Open(c.earlierFile(owner))
	if err != nil {
		return nil
	}
	defer closeQuietly(f)
	raw, err := io.ReadAll(io.LimitReader(f, MaxEarlier*hashLine+1))
	if err != nil || len(raw)%hashLine != 0 {
		return nil
	}
	var heads []plumbing.Hash
	for line := range strings.Lines(string(raw)) {
		h, ok := parseHash(strings.TrimSuffix(line, "\n"))
		if !ok {
			return nil
		}
		heads = append(heads, h)
	}
	return heads
}
