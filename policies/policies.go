// Package policies is the library of Rego policies that comes with gitgate. See
// its README.md for the catalogue and for how to write one.
package policies

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// FS holds every module and its tests, and the schemas of the parameters.
//
//go:embed lib deletion-safety git-discipline network pod-security-baseline pod-security-restricted rbac secrets supply-chain workloads
var FS embed.FS

// packs maps each pack to the directories that it is made of, its own one last.
var packs = map[string][]string{
	"deletion-safety":         {"lib", "deletion-safety"},
	"git-discipline":          {"lib", "git-discipline"},
	"network":                 {"lib", "network"},
	"pod-security-baseline":   {"lib", "pod-security-baseline"},
	"pod-security-restricted": {"lib", "pod-security-baseline", "pod-security-restricted"},
	"rbac":                    {"lib", "rbac"},
	"secrets":                 {"lib", "secrets"},
	"supply-chain":            {"lib", "supply-chain"},
	"workloads":               {"lib", "workloads"},
}

// Packs returns the names of all packs, sorted.
func Packs() []string { return slices.Sorted(maps.Keys(packs)) }

// Pack returns the modules of one pack, those that it includes, and their tests.
func Pack(name string) (fs.FS, error) {
	dirs, ok := packs[name]
	if !ok {
		return nil, unknownPack(name)
	}
	return packFS(dirs), nil
}

// schemaFile is what the schema of a pack's parameters is called. OPA takes files
// that end in .json for data.
const schemaFile = "parameters.jsonschema"

// ParametersSchema returns the JSON schema (draft 7) of the parameters that a
// pack reads, with their defaults; nil for a pack that reads none. Parameters of
// other names are not the pack's: several packs may share one document.
func ParametersSchema(name string) ([]byte, error) {
	dirs, ok := packs[name]
	if !ok {
		return nil, unknownPack(name)
	}
	raw, err := FS.ReadFile(dirs[len(dirs)-1] + "/" + schemaFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return raw, err
}

func unknownPack(name string) error {
	return fmt.Errorf("no policy pack is named %q: there are %s", name, strings.Join(Packs(), ", "))
}

// packFS is FS without the directories that are not in the list.
type packFS []string

// Open implements [fs.FS].
func (p packFS) Open(name string) (fs.File, error) {
	if name == "." {
		root, err := FS.Open(".")
		if err != nil {
			return nil, err
		}
		return &packRoot{File: root, dirs: p}, nil
	}
	top, _, _ := strings.Cut(name, "/")
	if !fs.ValidPath(name) || !slices.Contains(p, top) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return FS.Open(name)
}

// packRoot lists the directories of the pack alone.
type packRoot struct {
	fs.File
	dirs []string
	read int
}

// ReadDir implements [fs.ReadDirFile].
func (r *packRoot) ReadDir(n int) ([]fs.DirEntry, error) {
	all, err := FS.ReadDir(".")
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(d fs.DirEntry) bool { return !slices.Contains(r.dirs, d.Name()) })
	rest := all[min(r.read, len(all)):]
	if n <= 0 {
		r.read = len(all)
		return rest, nil
	}
	if len(rest) == 0 {
		return nil, io.EOF
	}
	rest = rest[:min(n, len(rest))]
	r.read += len(rest)
	return rest, nil
}
