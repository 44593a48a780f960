package main

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

//go:embed rules
var ruleFiles embed.FS

// A ruleSet is rules as conftest takes them, by file name: they are in package
// main and their input is the bare object.
type ruleSet map[string]string

// allRules reads the forty rules. All are called deny, so that conftest asks once
// for an object.
func allRules() (ruleSet, error) {
	out := ruleSet{}
	err := fs.WalkDir(ruleFiles, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(ruleFiles, file)
		out[path.Base(file)] = string(data)
		return err
	})
	return out, err
}

var denyRule = regexp.MustCompile(`(?m)^deny contains `)

// count is how many rules there are.
func (r ruleSet) count() int {
	n := 0
	for _, source := range r {
		n += len(denyRule.FindAllString(source, -1))
	}
	return n
}

// named gives each rule a name of its own: deny_1, deny_2 and so on in each file.
func (r ruleSet) named() ruleSet {
	out := ruleSet{}
	for name, source := range r {
		n := 0
		stem := strings.TrimSuffix(name, path.Ext(name))
		out[name] = denyRule.ReplaceAllStringFunc(source, func(string) string {
			n++
			return fmt.Sprintf("deny_%s_%d contains ", stem, n)
		})
	}
	return out
}

// write writes the files into a directory.
func (r ruleSet) write(dir string) error {
	for name, source := range r {
		if err := writeFile(filepath.Join(dir, name), source); err != nil {
			return err
		}
	}
	return nil
}
