package main

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"gitgate.dev/gitgate/policy/schema/internal/openapi"
)

// An archive is the content of the entries by their names, without the stamp.
type archive struct {
	entries map[string][]byte
	stamp   stamp
}

// readArchive reads an archive and its stamp.
func readArchive(path string) (archive, error) {
	a := archive{entries: map[string][]byte{}}
	r, err := zip.OpenReader(path)
	if err != nil {
		return a, err
	}
	defer r.Close()
	for _, f := range r.File {
		rc, err := f.Open()
		if err != nil {
			return a, err
		}
		data, err := io.ReadAll(rc)
		if err := cmpErr(err, rc.Close()); err != nil {
			return a, err
		}
		if f.Name == openapi.StampName {
			if err := json.Unmarshal(data, &a.stamp); err != nil {
				return a, fmt.Errorf("%s: %w", f.Name, err)
			}
			continue
		}
		a.entries[f.Name] = data
	}
	return a, nil
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// sum hashes the entries.
func (a archive) sum() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(a.entries)) {
		fmt.Fprintf(h, "%s %d\n%s", name, len(a.entries[name]), a.entries[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// current reports whether the archive is made of want and is as it was written.
func (a archive) current(want stamp) bool {
	want.Entries = a.sum()
	return a.stamp == want
}

func (a archive) equal(b archive) bool { return maps.EqualFunc(a.entries, b.entries, bytes.Equal) }

// write writes the archive, stamped. Entries bear no time.
func (a archive) write(path string, s stamp) error {
	s.Entries = a.sum()
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(out, flate.BestCompression)
	})
	all := maps.Clone(a.entries)
	all[openapi.StampName] = append(data, '\n')
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		if err != nil {
			return err
		}
		if _, err := f.Write(all[name]); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o644)
}
