package bundle

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits bound what a bundle may be. A zero field has the default that it documents; a
// negative one allows nothing.
type Limits struct {
	// Bytes bounds the bundle as it is transferred: 8 MiB.
	Bytes int64
	// Content bounds the archive once it is decompressed, and the files in it together:
	// 16 MiB.
	Content int64
	// FileBytes bounds one file: 8 MiB.
	FileBytes int64
	// Entries bounds the files and directories: 10,000.
	Entries int
	// PathBytes bounds the path of one: 512.
	PathBytes int
	// Depth bounds the directories above a file: 32.
	Depth int
	// Ratio is how many times larger than what was transferred the content may be, once
	// it is more than 1 MiB: 200.
	Ratio int64
}

// freeOfRatio is how much content is not held to Limits.Ratio: small files of much
// white space are no bomb.
const freeOfRatio = 1 << 20

func (l Limits) withDefaults() Limits {
	l.Bytes = cmp.Or(l.Bytes, 8<<20)
	l.Content = cmp.Or(l.Content, 16<<20)
	l.FileBytes = cmp.Or(l.FileBytes, 8<<20)
	l.Entries = cmp.Or(l.Entries, 10_000)
	l.PathBytes = cmp.Or(l.PathBytes, 512)
	l.Depth = cmp.Or(l.Depth, 32)
	l.Ratio = cmp.Or(l.Ratio, 200)
	return l
}

// ErrLimit is wrapped by errors about bundles that are more than the limits allow.
var ErrLimit = errors.New("limit exceeded")

// A tooLarge says what is.
type tooLarge string

func (e tooLarge) Error() string { return string(e) }
func (e tooLarge) Unwrap() error { return ErrLimit }

func limitError(format string, args ...any) error {
	return tooLarge(fmt.Sprintf(format, args...))
}

// A Bundle is a bundle that was read: nothing in it was compiled yet. It never changes.
// Make one with [Read].
type Bundle struct {
	manifest Manifest
	files    map[string][]byte
}

// Read reads a bundle: a gzipped tar archive. Its error is one line, for people; it
// wraps [ErrLimit] if the bundle is too large.
func Read(raw []byte, limits Limits) (*Bundle, error) {
	limits = limits.withDefaults()
	r := reader{limits: limits, files: map[string][]byte{}, seen: map[string]bool{}}
	if err := r.read(raw); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	b := &Bundle{files: r.files}
	if m, ok := r.files[manifestName]; ok {
		var err error
		if b.manifest, err = readManifest(m); err != nil {
			return nil, fmt.Errorf("bundle: %s: %w", manifestName, err)
		}
	}
	return b, nil
}

// Manifest is what the bundle says of itself.
func (b *Bundle) Manifest() Manifest {
	m := b.manifest
	m.Roots = slices.Clone(m.Roots)
	return m
}

// Files lists the files in order, the manifest among them.
func (b *Bundle) Files() []string { return slices.Sorted(maps.Keys(b.files)) }

// File is the content of a file; nil if there is none.
func (b *Bundle) File(name string) []byte { return slices.Clone(b.files[name]) }

// A reader takes an archive apart.
type reader struct {
	limits  Limits
	files   map[string][]byte
	seen    map[string]bool // paths of files, true, and of directories
	entries int
	content int64
}

func (r *reader) read(raw []byte) error {
	if int64(len(raw)) > r.limits.Bytes {
		return limitError("%d bytes, more than %d", len(raw), r.limits.Bytes)
	}
	compressed := bytes.NewReader(raw)
	zip, err := gzip.NewReader(compressed)
	if err != nil {
		return errors.New("not a gzipped archive, which a bundle is")
	}
	zip.Multistream(false) // what follows is part of no bundle
	most := r.limits.Content
	if ratio := int64(len(raw)) * max(r.limits.Ratio, 0); ratio < most {
		most = max(ratio, min(most, freeOfRatio))
	}
	plain := &boundedReader{r: zip, left: most, err: limitError("its %d bytes unpack to more than %d", len(raw), most)}
	if err := r.archive(tar.NewReader(plain)); err != nil {
		return explain(err)
	}
	// What comes after the end of the archive is padding, or it would mean something
	// else to another reader; reading it also verifies the checksum.
	if err := onlyZeros(plain); err != nil {
		return explain(err)
	}
	if compressed.Len() > 0 {
		return errors.New("something follows the archive")
	}
	return nil
}

// explain makes errors of the archive's readers mean something.
func explain(err error) error {
	switch {
	case errors.Is(err, ErrLimit):
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrChecksum), errors.Is(err, io.EOF):
		return errors.New("the archive is cut off or damaged")
	case errors.Is(err, tar.ErrHeader):
		return errors.New("not a tar archive, which a bundle is")
	}
	return err
}

func (r *reader) archive(t *tar.Reader) error {
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if r.entries++; r.entries > r.limits.Entries {
			return limitError("more than %d files and directories", r.limits.Entries)
		}
		if h.Typeflag == tar.TypeXGlobalHeader { // the comment of git archive
			continue
		}
		if err := r.entry(h, t); err != nil {
			return err
		}
	}
}

func (r *reader) entry(h *tar.Header, content io.Reader) error {
	name, err := r.cleanPath(h.Name)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return r.directory(name)
	case tar.TypeReg:
	case tar.TypeSymlink, tar.TypeLink:
		return fmt.Errorf("%s: a link: a bundle holds files only", name)
	default:
		return fmt.Errorf("%s: neither a file nor a directory: a bundle holds files only", name)
	}
	if name == "." {
		return errors.New("a file without a name")
	}
	if _, taken := r.seen[name]; taken {
		return fmt.Errorf("%s: it is there twice", name)
	}
	if err := r.directory(path.Dir(name)); err != nil {
		return err
	}
	r.seen[name] = true
	if err := refused(name); err != nil {
		return err
	}
	if h.Size > r.limits.FileBytes {
		return limitError("%s: %d bytes, more than %d", name, h.Size, r.limits.FileBytes)
	}
	// A sparse file has more bytes than the archive.
	if r.content += h.Size; r.content > r.limits.Content {
		return limitError("the files are more than %d bytes", r.limits.Content)
	}
	if name == signaturesName || name != manifestName && hidden(name) {
		return nil
	}
	raw, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	r.files[name] = raw
	return nil
}

// directory notes a directory and those above it: none of them is a file.
func (r *reader) directory(name string) error {
	for ; name != "."; name = path.Dir(name) {
		if r.seen[name] {
			return fmt.Errorf("%s: a file and a directory have this name", name)
		}
		r.seen[name] = false
	}
	return nil
}

// cleanPath refuses names that mean different things to different readers. One slash,
// or ./, at the start is the root of the bundle: OPA and tar write these.
func (r *reader) cleanPath(name string) (string, error) {
	shown := fmt.Sprintf("%.80q", name)
	if len(name) > r.limits.PathBytes {
		return "", limitError("%s: a path of %d bytes, more than %d", shown, len(name), r.limits.PathBytes)
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(c rune) bool { return c == '\\' || !unicode.IsPrint(c) }) {
		return "", fmt.Errorf("%s: a path with characters that have no place in it", shown)
	}
	rest, rooted := strings.CutPrefix(name, "./")
	if !rooted {
		rest, _ = strings.CutPrefix(name, "/")
	}
	if rest = strings.TrimSuffix(rest, "/"); rest == "" {
		rest = "."
	}
	if !fs.ValidPath(rest) {
		return "", fmt.Errorf("%s: a path that is absolute, leaves the bundle or is not clean", shown)
	}
	if strings.Count(rest, "/") > r.limits.Depth {
		return "", limitError("%s: more than %d directories deep", shown, r.limits.Depth)
	}
	return rest, nil
}

// refused are files that would change what the bundle means and are not read.
func refused(name string) error {
	switch {
	case path.Base(name) == wasmName:
		return fmt.Errorf("%s: compiled rules are not run: build the bundle with the target rego", name)
	case name == patchName:
		return fmt.Errorf("%s: a delta bundle: a bundle has to be whole", name)
	case strings.HasSuffix(name, manifestProto):
		return fmt.Errorf("%s: write the manifest as JSON, to %s", name, manifestName)
	case path.Base(name) == manifestName && name != manifestName:
		return fmt.Errorf("%s: a manifest stands at the root", name)
	}
	return nil
}

func hidden(name string) bool {
	return strings.HasPrefix(name, ".") || strings.Contains(name, "/.")
}

// A boundedReader fails with its error once more than so many bytes were there.
type boundedReader struct {
	r    io.Reader
	left int64
	err  error
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, b.err
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, b.err
	}
	return n, err
}

func onlyZeros(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if len(bytes.Trim(buf[:n], "\x00")) > 0 {
			return errors.New("something follows the archive")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
