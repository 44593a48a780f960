package commit

import (
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
)

// A record is what the bytes of a commit say for all time to one Verifier,
// whose keys and rules never change. It holds no verdict: time decides too.
type record struct {
	tree              plumbing.Hash
	parents           []plumbing.Hash
	author, committer Identity
	proof             proof

	paths pathsJudged
}

// memoSize bounds the commits that a Verifier remembers, in each of two
// generations; a record takes about a kilobyte.
const memoSize = 50_000

// A memo remembers records by the hash of their commit, which their bytes were
// checked against. When the young generation is full the old one goes.
type memo struct {
	mu         sync.Mutex
	young, old map[plumbing.Hash]*record
}

func newMemo() *memo { return &memo{young: map[plumbing.Hash]*record{}} }

func (m *memo) get(h plumbing.Hash) *record {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.young[h]
	if r == nil {
		if r = m.old[h]; r != nil {
			m.put(h, r)
		}
	}
	return r
}

// add keeps r unless h is known; it returns the record that is kept.
func (m *memo) add(h plumbing.Hash, r *record) *record {
	m.mu.Lock()
	defer m.mu.Unlock()
	if first := m.young[h]; first != nil {
		return first
	}
	m.put(h, r)
	return r
}

func (m *memo) put(h plumbing.Hash, r *record) {
	if len(m.young) >= memoSize {
		m.old, m.young = m.young, make(map[plumbing.Hash]*record, memoSize)
	}
	m.young[h] = r
}
