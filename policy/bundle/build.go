package bundle

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"gitgate.dev/gitgate/policy"
)

// Options say what to build. The zero value is a bundle of rules for gitgate, without
// tests, in the format and with the roots that a .manifest in the directory says.
type Options struct {
	Dialect
	// Revision goes into the manifest; that of a .manifest in the directory where it is
	// empty.
	Revision string
	// Tests keeps the files *_test.rego, which never judge.
	Tests bool
	// Load bounds the policies, which have to load as they would in a cluster.
	Load policy.Options
	// Limits bound the bundle: what is built can be read.
	Limits Limits
}

// setName is that of the set in messages; it is not in the bundle.
const setName = "bundle"

// Build makes a bundle of the policies in a directory, which have to load. The same
// files and options give the same bytes, by the same gitgate. It fails with a
// [*policy.LoadError] where the policies do not load.
func Build(ctx context.Context, dir fs.FS, o Options) ([]byte, *Bundle, error) {
	limits := o.Limits.withDefaults()
	files, err := collect(dir, o, limits)
	if err != nil {
		return nil, nil, err
	}
	m, err := describe(dir, o, limits)
	if err != nil {
		return nil, nil, err
	}
	for name := range files {
		if !wanted(m.Format, name, o.Tests) {
			delete(files, name)
		}
	}
	if files[manifestName], err = m.file(); err != nil {
		return nil, nil, err
	}
	raw, err := write(&Bundle{files: files})
	if err != nil {
		return nil, nil, err
	}
	b, err := Read(raw, limits)
	if err != nil {
		return nil, nil, err
	}
	set, err := b.Set(setName, Dialect{})
	if err != nil {
		return nil, nil, err
	}
	if _, err := policy.Load(ctx, []policy.Set{set}, o.Load); err != nil {
		return nil, nil, err
	}
	return raw, b, nil
}

// describe makes the manifest of what the options and the directory's own say.
func describe(dir fs.FS, o Options, limits Limits) (Manifest, error) {
	var m Manifest
	raw, err := readFile(dir, manifestName, min(limits.FileBytes, maxManifestBytes))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return m, err
	default:
		if m, err = readManifest(raw); err != nil {
			return m, fmt.Errorf("%s: %w", manifestName, err)
		}
	}
	m.Revision = cmp.Or(o.Revision, m.Revision)
	m.Format = cmp.Or(o.Format, m.Format, policy.FormatGitgate)
	m.RegoVersion = cmp.Or(o.RegoVersion, m.RegoVersion, policy.RegoV1)
	if !slices.Contains(formats, m.Format) {
		return m, fmt.Errorf("format %q: use Gitgate, Conftest or Gatekeeper", m.Format)
	}
	if m.Format == policy.FormatGatekeeper { // templates say theirs
		m.RegoVersion = ""
	}
	return m, nil
}

// wanted reports whether a set of the format has a use for a file.
func wanted(format policy.Format, name string, tests bool) bool {
	ext, base := path.Ext(name), path.Base(name)
	isData := ext == ".json" || ext == ".yaml" || ext == ".yml"
	switch {
	case format == policy.FormatGatekeeper:
		return isData
	case ext == ".rego":
		return tests || !strings.HasSuffix(name, "_test.rego")
	case format == policy.FormatConftest:
		return isData
	}
	return base == "data.json" || base == "data.yaml" || base == "data.yml"
}

// collect reads what a bundle may have use for. Hidden files are left out, and links
// are an error: they would be followed here and refused by whoever reads the bundle.
func collect(dir fs.FS, o Options, limits Limits) (map[string][]byte, error) {
	files := map[string][]byte{}
	var total int64
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(path.Base(name), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s: a link, or no file at all: a bundle holds files only", name)
		case !wanted(policy.FormatConftest, name, o.Tests): // which has a use for most
			return nil
		}
		if len(files) >= limits.Entries {
			return limitError("more than %d files", limits.Entries)
		}
		raw, err := readFile(dir, name, limits.FileBytes)
		if err != nil {
			return err
		}
		if total += int64(len(raw)); total > limits.Content {
			return limitError("the files are more than %d bytes", limits.Content)
		}
		files[name] = raw
		return nil
	})
	return files, err
}

func readFile(dir fs.FS, name string, limit int64) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > limit {
		return nil, limitError("%s: more than %d bytes", name, limit)
	}
	return raw, nil
}

// write makes the archive: files in order, without anything of the machine or the day.
// Directories stand before what is in them, for there are readers that make none.
func write(b *Bundle) ([]byte, error) {
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	archive := tar.NewWriter(zip)
	made := map[string]bool{".": true}
	for _, name := range b.Files() {
		if err := writeDirectory(archive, path.Dir(name), made); err != nil {
			return nil, err
		}
		header := header(name, 0o644)
		header.Typeflag, header.Size = tar.TypeReg, int64(len(b.files[name]))
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(b.files[name]); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func writeDirectory(archive *tar.Writer, name string, made map[string]bool) error {
	if made[name] {
		return nil
	}
	made[name] = true
	if err := writeDirectory(archive, path.Dir(name), made); err != nil {
		return err
	}
	header := header(name+"/", 0o755)
	header.Typeflag = tar.TypeDir
	return archive.WriteHeader(header)
}

func header(name string, mode int64) *tar.Header {
	return &tar.Header{Name: name, Mode: mode, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
}
