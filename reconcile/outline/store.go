package outline

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// maxBytes bounds the file of one outline.
	maxBytes = 64 << 20
	// maxOutlines bounds the directory: those used longest ago go.
	maxOutlines = 64
	// format is the first line of a file; another format is another line.
	format = "gitgate outline 1"
	suffix = ".outline"
)

// A Store keeps outlines in a directory, which may be shared by processes, copied and
// deleted at any time. A file says for which tree it is and carries a code over all of
// it: with a key, outlines of whoever lacks the key are as good as not there; without
// one the code only finds damage. Failing to write is not an error: it is a cache.
//
// The zero value keeps nothing.
type Store struct {
	// Dir is made when it is needed.
	Dir string
	// Key seals the files.
	Key []byte
}

// A Name identifies the tree of an outline, and everything else that its content
// depends on.
type Name [sha256.Size]byte

// NameOf returns the name for what is listed. For a tree that is the hash of the
// directory and of the .gitattributes files above it.
func NameOf(tree Hashes, dir string, rest ...string) (Name, bool) {
	dir = path.Clean(dir)
	hash := tree.TreeHash(dir)
	parts := append(slices.Clone(rest), dir, hash)
	for at := path.Dir(dir); dir != "."; at = path.Dir(at) {
		attributes, err := tree.BlobHash(path.Join(at, ".gitattributes"))
		if err != nil {
			attributes = ""
		}
		if parts = append(parts, attributes); at == "." {
			break
		}
	}
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d %s\n", len(part), part)
	}
	return Name(h.Sum(nil)), hash != ""
}

func (s Store) file(n Name) string { return filepath.Join(s.Dir, hex.EncodeToString(n[:])+suffix) }

func (s Store) code(n Name, body []byte) []byte {
	mac := hmac.New(sha256.New, s.Key)
	mac.Write(n[:])
	mac.Write(body)
	return mac.Sum(nil)
}

// Has reports whether there is something by this name.
func (s Store) Has(n Name) bool {
	_, err := os.Stat(s.file(n))
	return s.Dir != "" && err == nil
}

// Load returns the outline of a name; nil if there is none.
func (s Store) Load(n Name) *Outline {
	if s.Dir == "" {
		return nil
	}
	f, err := os.Open(s.file(n))
	if err != nil {
		return nil
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxBytes))
	if err != nil {
		return nil
	}
	head, body, _ := bytes.Cut(raw, []byte("\n"))
	code, ok := strings.CutPrefix(string(head), format+" ")
	want, err := hex.DecodeString(code)
	if !ok || err != nil || !hmac.Equal(want, s.code(n, body)) {
		return nil
	}
	return decode(string(body))
}

// Save keeps an outline.
func (s Store) Save(n Name, o *Outline) {
	if s.Dir == "" || o == nil {
		return
	}
	body := o.encode()
	if body == nil || len(body) > maxBytes-1024 || os.MkdirAll(s.Dir, 0o700) != nil {
		return
	}
	s.prune()
	f, err := os.CreateTemp(s.Dir, "new-*")
	if err != nil {
		return
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = fmt.Fprintf(f, "%s %x\n%s", format, s.code(n, body), body)
	if err = errors.Join(err, f.Close()); err == nil {
		_ = os.Rename(f.Name(), s.file(n)) // a cache: without it the tree is read again
	}
}

// prune makes room for one more.
func (s Store) prune() {
	files, err := filepath.Glob(filepath.Join(s.Dir, "*"+suffix))
	if err != nil || len(files) < maxOutlines {
		return
	}
	age := map[string]int64{}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			age[f] = info.ModTime().UnixNano()
		}
	}
	slices.SortFunc(files, func(a, b string) int { return int(min(1, max(-1, age[a]-age[b]))) })
	for _, f := range files[:len(files)-maxOutlines+1] {
		_ = os.Remove(f) // somebody else may have been faster
	}
}

// The body of a file is a line "dir <directory>", a line "moved yes" if objects are,
// and for each file a line "file <name>" or "special <name>" with lines "key <key>"
// and "image <reference>" below it.
var lineKinds = []string{"dir", "moved", "file", "special", "key", "image"}

// encode returns nil where a name holds a line break.
func (o *Outline) encode() []byte {
	var b bytes.Buffer
	b.Grow(512 * len(o.files)) // of a file with a few objects
	sound := true
	line := func(kind, text string) {
		sound = sound && strings.IndexByte(text, '\n') < 0
		b.WriteString(kind)
		b.WriteByte(' ')
		b.WriteString(text)
		b.WriteByte('\n')
	}
	line("dir", o.dir)
	if o.moved {
		line("moved", "yes")
	}
	for _, name := range slices.Sorted(maps.Keys(o.files)) {
		f, kind := o.files[name], "file"
		if f.special {
			kind = "special"
		}
		line(kind, name)
		for _, k := range f.keys {
			line("key", k)
		}
		for _, i := range f.images {
			line("image", i)
		}
	}
	if !sound {
		return nil
	}
	return b.Bytes()
}

// decode returns nil for what encode did not write.
func decode(body string) *Outline {
	o := &Outline{files: map[string]file{}}
	var name string
	var f file
	flush := func() {
		if name != "" {
			o.files[name] = f
		}
	}
	for line := range strings.Lines(body) {
		kind, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch {
		case !slices.Contains(lineKinds, kind), text == "":
			return nil
		case kind == "dir":
			o.dir = text
		case kind == "moved":
			o.moved = true
		case kind == "key":
			f.keys = append(f.keys, text)
		case kind == "image":
			f.images = append(f.images, text)
		default:
			flush()
			name, f = text, file{special: kind == "special"}
		}
	}
	flush()
	if o.dir == "" {
		return nil
	}
	o.choose()
	return o
}
