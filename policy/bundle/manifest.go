package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"gitgate.dev/gitgate/policy"
)

// FormatKey is the key of the manifest's metadata under which a bundle says for which
// tool its files were written: the name of a [policy.Format].
const FormatKey = "gitgate.dev/format"

const (
	manifestName   = ".manifest"
	manifestProto  = ".manifest.pb"
	signaturesName = ".signatures.json"
	wasmName       = "policy.wasm"
	patchName      = "patch.json"
)

// A Manifest is what a bundle says of itself. The zero value is that of a bundle that
// says nothing: it may have everything.
type Manifest struct {
	// Revision is free text of its maker.
	Revision string
	// Roots are the paths below data that the bundle answers for, as a/b. None are the
	// same as "", which is all.
	Roots []string
	// RegoVersion and Format are empty where the bundle does not say.
	RegoVersion policy.RegoVersion
	Format      policy.Format
}

// manifestFile is the file .manifest, as far as it counts.
type manifestFile struct {
	Revision         string         `json:"revision"`
	Roots            *[]string      `json:"roots,omitempty"`
	Wasm             []any          `json:"wasm,omitempty"`
	RegoVersion      *int           `json:"rego_version,omitempty"`
	FileRegoVersions map[string]int `json:"file_rego_versions,omitempty"`
	Metadata         map[string]any `json:"metadata,omitempty"`
}

const (
	maxManifestBytes = 64 << 10
	maxRoots         = 1000
	maxRevision      = 256
)

func readManifest(raw []byte) (Manifest, error) {
	var m Manifest
	if len(raw) > maxManifestBytes {
		return m, fmt.Errorf("%d bytes, more than %d", len(raw), maxManifestBytes)
	}
	var f manifestFile
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&f); err != nil {
		return m, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return m, errors.New("more than one JSON document")
	}
	if len(f.Wasm) > 0 {
		return m, errors.New("it refers to compiled rules: build the bundle with the target rego")
	}
	if len(f.Revision) > maxRevision || strings.ContainsFunc(f.Revision, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
		return m, fmt.Errorf("revision: use at most %d printable characters", maxRevision)
	}
	m.Revision = f.Revision
	var err error
	if m.RegoVersion, err = regoVersion(f); err != nil {
		return m, err
	}
	if m.Roots, err = roots(f.Roots); err != nil {
		return m, err
	}
	switch format, known := f.Metadata[FormatKey]; {
	case !known:
	default:
		name, _ := format.(string)
		if m.Format = policy.Format(name); !slices.Contains(formats, m.Format) {
			return m, fmt.Errorf("metadata: %s: use Gitgate, Conftest or Gatekeeper", FormatKey)
		}
	}
	return m, nil
}

var formats = []policy.Format{policy.FormatGitgate, policy.FormatConftest, policy.FormatGatekeeper}

// regoVersion wants one dialect: a set has no more.
func regoVersion(f manifestFile) (policy.RegoVersion, error) {
	if f.RegoVersion == nil {
		if len(f.FileRegoVersions) > 0 {
			return "", errors.New("file_rego_versions: say rego_version, in which all files have to be")
		}
		return "", nil
	}
	for _, v := range f.FileRegoVersions {
		if v != *f.RegoVersion {
			return "", errors.New("file_rego_versions: files in several versions of Rego: make a bundle of each")
		}
	}
	switch *f.RegoVersion {
	case 0:
		return policy.RegoV0, nil
	case 1:
		return policy.RegoV1, nil
	}
	return "", fmt.Errorf("rego_version: %d is unknown: use 0 or 1", *f.RegoVersion)
}

func roots(list *[]string) ([]string, error) {
	if list == nil {
		return nil, nil
	}
	if len(*list) > maxRoots {
		return nil, fmt.Errorf("roots: %d, more than %d", len(*list), maxRoots)
	}
	out := make([]string, 0, len(*list))
	for _, root := range *list {
		out = append(out, strings.Trim(root, "/"))
	}
	slices.Sort(out)
	for i := 1; i < len(out); i++ {
		for _, before := range out[:i] {
			if covers(before, strings.Split(out[i], "/")) || covers(out[i], strings.Split(before, "/")) {
				return nil, fmt.Errorf("roots: %q and %q overlap", before, out[i])
			}
		}
	}
	return out, nil
}

// covers reports whether a root is a path or above it.
func covers(root string, path []string) bool {
	if root == "" {
		return true
	}
	keys := strings.Split(root, "/")
	return len(keys) <= len(path) && slices.Equal(keys, path[:len(keys)])
}

// owns reports whether a path is below one of the roots.
func (m Manifest) owns(path []string) bool {
	return m.Roots == nil || slices.ContainsFunc(m.Roots, func(root string) bool { return covers(root, path) })
}

// file is the manifest as it is written: the same manifest gives the same bytes.
func (m Manifest) file() ([]byte, error) {
	roots := m.Roots
	if roots == nil {
		roots = []string{""}
	}
	f := manifestFile{Revision: m.Revision, Roots: &roots, Metadata: map[string]any{FormatKey: string(m.Format)}}
	switch m.RegoVersion {
	case policy.RegoV0:
		f.RegoVersion = new(int)
	case policy.RegoV1:
		one := 1
		f.RegoVersion = &one
	}
	return json.Marshal(f)
}
