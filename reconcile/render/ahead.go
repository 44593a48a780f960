package render

import (
	"io/fs"
	"path"
	"runtime"
	"strings"
)

// aheadFiles is how many files of a directory are read before their turn. It bounds
// what is held unparsed.
const aheadFiles = 32

// A blob is a file of the tree: a problem, or the hash of its bytes and what they
// declare, or else the bytes themselves.
type blob struct {
	hash    string
	file    *parsedFile
	raw     []byte
	problem *problem
}

// blob reads a file, unless what it declares is in the cache.
func (r *renderer) blob(name string) (b blob) {
	if b.hash, b.raw, b.problem = r.reader.hash(name); b.problem != nil {
		return b
	}
	if v, ok := r.options.Cache.get(r.manifestKey(b.hash)); ok {
		b.file = v.(*parsedFile)
		return b
	}
	if b.raw == nil {
		b.raw, b.problem = r.reader.file(name)
	}
	return b
}

// parse finds out what the bytes declare, and keeps it.
func (r *renderer) parse(b blob) blob {
	if b.problem != nil || b.file != nil {
		return b
	}
	b.file = parseManifests(b.raw, r.options.Limits, r.shared)
	// Decoded values take several times the space of their text.
	r.options.Cache.put(r.manifestKey(b.hash), b.file, 1024+8*len(b.raw))
	return b
}

func (r *renderer) manifestKey(hash string) cacheKey {
	return cacheKey{kind: parsedManifest, hash: hash, limits: r.options.Limits}
}

// manifests returns what a file declares, and the hash of its content.
func (r *renderer) manifests(name string) (*parsedFile, string, *problem) {
	b := blob{}
	if early, ok := r.early[name]; ok {
		delete(r.early, name)
		b = <-early
	} else {
		b = r.parse(r.blob(name))
	}
	return b.file, b.hash, b.problem
}

// candidates are the files of a directory that will be asked for, in this order.
func candidates(dir string, entries []fs.DirEntry) []string {
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && IsManifest(e.Name()) && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, path.Join(dir, e.Name()))
		}
	}
	return names
}

// ahead starts on files before their turn, so that they are parsed side by side, and
// returns those that it left. Files are read and counted in the order in which they
// would be without it.
func (r *renderer) ahead(names []string) []string {
	for len(names) > 0 && len(r.early) < aheadFiles {
		r.start(names[0])
		names = names[1:]
	}
	return names
}

func (r *renderer) start(name string) {
	b, done := r.blob(name), make(chan blob, 1)
	r.early[name] = done
	if b.problem != nil || b.file != nil {
		done <- b
		return
	}
	r.parsing.Go(func() {
		r.turns <- struct{}{}
		defer func() { <-r.turns }()
		defer func() {
			if v := recover(); v != nil {
				bug := panicProblem(v)
				done <- blob{problem: &bug}
			}
		}()
		done <- r.parse(b)
	})
}

// newTurns bounds how many files are parsed at once.
func newTurns() chan struct{} { return make(chan struct{}, runtime.GOMAXPROCS(0)) }
