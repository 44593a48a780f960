package source

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// The manifest lists the packs of the store, in git's own place and format
// (objects/info/packs, gitrepository-layout(5)). It makes a change of several
// files one change, and tells a pack that was lost from one that never was.

// manifestLine is one line of it; an empty line ends it.
var manifestLine = regexp.MustCompile(`^P (pack-[0-9a-f]{40})\.pack$`)

func (c *clone) manifestFile() string { return filepath.Join(c.dir, "objects", "info", "packs") }

// readManifest returns the names of the packs. A store without a manifest has
// none.
func (c *clone) readManifest() ([]string, error) {
	b, err := os.ReadFile(c.manifestFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, ok := strings.CutSuffix(string(b), "\n\n")
	if !ok {
		return nil, damaged("the list of packs is cut short")
	}
	var names []string
	for _, line := range strings.Split(text, "\n") {
		m := manifestLine.FindStringSubmatch(line)
		if m == nil {
			return nil, damaged("the list of packs is malformed")
		}
		names = append(names, m[1])
	}
	return names, nil
}

// writeManifest makes the packs those of the store.
func (c *clone) writeManifest(packs []*pack) error {
	temp, err := os.CreateTemp(c.tempDir(), "packs-")
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, p := range packs {
		b.WriteString("P " + p.name + packSuffix + "\n")
	}
	b.WriteString("\n")
	return writeFile(c.manifestFile(), temp, []byte(b.String()), false)
}

// sweep removes temporary files and every file among the packs that does not
// belong to one of those named.
func (c *clone) sweep(names []string) error {
	keep := map[string]bool{}
	for _, name := range names {
		keep[name+packSuffix], keep[name+indexSuffix] = true, true
	}
	for _, dir := range []string{c.tempDir(), c.packDir()} {
		files, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, f := range files {
			if dir == c.packDir() && keep[f.Name()] {
				continue
			}
			if err := os.RemoveAll(filepath.Join(dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
