package image

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"container/list"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// attestationsFresh is how long attestations are remembered before the registry is
// asked again: there may be a newer scan of the same digest.
const attestationsFresh = 5 * time.Minute

// memory remembers what is known of verified digests, the least recently used
// going first. Only what was verified is in it: a refusal may be a signature
// that comes later.
type memory struct {
	mu      sync.Mutex
	most    int
	now     func() time.Time
	order   *list.List // of *memoryEntry, recent first
	entries map[string]*list.Element
}

type memoryEntry struct {
	key string
	known
	when time.Time
}

// A known is what was found out about a digest.
type known struct {
	grants   []Grant
	attested []Attested
}

func newMemory(most int) *memory {
	return &memory{most: most, now: time.Now, order: list.New(), entries: make(map[string]*list.Element)}
}

// get returns what is known of a digest; fresh wants no attestations from long ago.
func (m *memory) get(key string, fresh bool) (known, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[key]
	if !ok {
		return known{}, false
	}
	entry := e.Value.(*memoryEntry)
	if fresh && m.now().Sub(entry.when) >= attestationsFresh {
		return known{}, false
	}
	m.order.MoveToFront(e)
	return entry.known, true
}

func (m *memory) put(key string, k known) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.entries[key]; ok {
		entry := e.Value.(*memoryEntry)
		entry.known, entry.when = k, m.now()
		m.order.MoveToFront(e)
		return
	}
	m.entries[key] = m.order.PushFront(&memoryEntry{key, k, m.now()})
	if m.order.Len() > m.most {
		oldest := m.order.Back()
		delete(m.entries, oldest.Value.(*memoryEntry).key)
		m.order.Remove(oldest)
	}
}

// disk keeps proofs in a directory, one file for each digest; empty keeps none.
// It holds what registries sent and no verdicts, so its content is as little
// trusted as theirs. It is a cache: failing to write is not an error.
type disk string

// maxDiskFiles bounds the directory. At the bound it takes nothing more; the
// directory may be deleted at any time.
const maxDiskFiles = 20_000

// maxDiskBytes bounds the directory as well: attestations may be large.
var maxDiskBytes int64 = 2 << 30

func (d disk) path(key string) string {
	return filepath.Join(string(d), fmt.Sprintf("%x.json", sha256.Sum256([]byte(key))))
}

func (d disk) get(key string, l Limits) []proof {
	if d == "" {
		return nil
	}
	f, err := os.Open(d.path(key))
	if err != nil {
		return nil
	}
	defer f.Close()
	in := bufio.NewReader(f)
	var from io.Reader = in
	if magic, _ := in.Peek(len(gzipMagic)); string(magic) == gzipMagic {
		if from, err = gzip.NewReader(in); err != nil {
			return nil
		}
	}
	raw, err := io.ReadAll(io.LimitReader(from, 2*l.TotalBytes)) // base64 takes a third more
	if err != nil {
		return nil
	}
	var proofs []proof
	if json.Unmarshal(raw, &proofs) != nil || len(proofs) > l.Signatures+2*l.Attestations {
		return nil
	}
	return proofs
}

// fits reports whether there is room for a file. Small ones are not worth the look.
func fits(present []os.DirEntry, size int64) bool {
	if size <= packAbove {
		return true
	}
	for _, e := range present {
		if info, err := e.Info(); err == nil {
			size += info.Size()
		}
	}
	return size <= maxDiskBytes
}

const gzipMagic = "\x1f\x8b"

// packAbove is from which size on a file is compressed.
const packAbove = 16 << 10

func pack(raw []byte) []byte {
	if len(raw) <= packAbove {
		return raw
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(raw); err != nil || w.Close() != nil {
		return raw // a buffer takes everything
	}
	return out.Bytes()
}

// tagKey is apart from the keys of digests, which have an @.
func tagKey(r reference) string { return "tag " + r.name() + ":" + r.tag }

// getTag returns the digest that a tag had last; empty if that is not known.
func (d disk) getTag(r reference) string {
	if d == "" {
		return ""
	}
	raw, err := os.ReadFile(d.path(tagKey(r)))
	var digest string
	if err != nil || json.Unmarshal(raw, &digest) != nil || !reHash.MatchString(digest) {
		return ""
	}
	return digest
}

func (d disk) putTag(r reference, digest string) {
	if d != "" && d.getTag(r) != digest {
		d.write(tagKey(r), digest)
	}
}

func (d disk) put(key string, proofs []proof) {
	if d != "" {
		d.write(key, proofs)
	}
}

func (d disk) write(key string, content any) {
	raw, err := json.Marshal(content)
	if err != nil {
		return
	}
	if os.MkdirAll(string(d), 0o700) != nil {
		return
	}
	packed := pack(raw)
	if present, err := os.ReadDir(string(d)); err != nil || len(present) >= maxDiskFiles || !fits(present, int64(len(packed))) {
		return
	}
	f, err := os.CreateTemp(string(d), "new-*")
	if err != nil {
		return
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(packed)
	if f.Close() != nil || err != nil {
		return
	}
	_ = os.Rename(f.Name(), d.path(key)) // a cache: without it we ask again
}
