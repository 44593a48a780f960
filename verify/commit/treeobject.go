package commit

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// An entry is one line of a tree object.
type entry struct {
	name string
	mode filemode.FileMode
	hash plumbing.Hash
}

// parseTree accepts a tree only as Git writes it: known modes, sorted, without
// duplicates, and with names that are one path element everywhere. What differs
// between two readers of the same tree is what an attacker would use.
func parseTree(raw []byte) ([]entry, *ObjectError) {
	var entries []entry
	seen := map[string]bool{}
	for len(raw) > 0 {
		space := bytes.IndexByte(raw[:min(len(raw), 8)], ' ')
		if space < 0 {
			return nil, malformed("tree entry %d has no mode", len(entries)+1)
		}
		mode, ok := treeMode(string(raw[:space]))
		if !ok {
			return nil, malformed("tree entry %d has mode %q", len(entries)+1, raw[:space])
		}
		raw = raw[space+1:]
		end := bytes.IndexByte(raw, 0)
		if end < 0 || len(raw) < end+1+20 {
			return nil, malformed("tree entry %d is cut short", len(entries)+1)
		}
		e := entry{name: string(raw[:end]), mode: mode}
		copy(e.hash[:], raw[end+1:])
		raw = raw[end+21:]
		if why := badName(e.name); why != "" {
			return nil, malformed("tree entry %.80q %s", e.name, why)
		}
		if e.hash.IsZero() {
			return nil, malformed("tree entry %q has no object", e.name)
		}
		// A file and a directory of one name sort apart, so order alone does not
		// rule out duplicates.
		if seen[e.name] {
			return nil, malformed("tree entry %q twice", e.name)
		}
		seen[e.name] = true
		if n := len(entries); n > 0 && entries[n-1].key() >= e.key() {
			return nil, malformed("tree entry %q out of order", e.name)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// key is what Git sorts by: directories as if they ended in a slash.
func (e entry) key() string {
	if e.mode == filemode.Dir {
		return e.name + "/"
	}
	return e.name
}

func treeMode(s string) (filemode.FileMode, bool) {
	switch s {
	case "40000":
		return filemode.Dir, true
	case "100644", "100664": // the second was written by early versions of Git
		return filemode.Regular, true
	case "100755":
		return filemode.Executable, true
	case "120000":
		return filemode.Symlink, true
	case "160000":
		return filemode.Submodule, true
	}
	return filemode.Empty, false
}

// badName says why name cannot be a path element, or nothing. Names that some
// file systems take for .git are as bad as .git itself (CVE-2014-9390).
func badName(name string) string {
	switch {
	case name == "" || len(name) > 255:
		return "is empty or too long"
	case name == "." || name == "..":
		return "leads elsewhere"
	case strings.ContainsAny(name, "/\\"):
		return "contains a separator"
	case !utf8.ValidString(name):
		return "is not UTF-8"
	case isDotGit(name):
		return "would be taken for .git"
	}
	for _, c := range name {
		if c < 0x20 || c == 0x7f {
			return "contains a control character"
		}
	}
	return ""
}

func isDotGit(name string) bool {
	visible := strings.Map(func(c rune) rune {
		switch { // characters that HFS+ ignores
		case c >= 0x200c && c <= 0x200f, c >= 0x202a && c <= 0x202e, c >= 0x206a && c <= 0x206f, c == 0xfeff:
			return -1
		}
		return c
	}, name)
	short, _, _ := strings.Cut(visible, ":") // NTFS stream
	switch strings.ToLower(strings.TrimRight(short, " .")) {
	case ".git", "git~1":
		return true
	}
	return false
}
