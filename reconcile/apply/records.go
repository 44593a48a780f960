package apply

import (
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/gate"
)

// A state says how an object compares with D.
type state int

const (
	unknown  state = iota
	synced         // equal to D at the last look
	drifted        // differs, or is gone
	dying          // being deleted by somebody
	inFlight       // being written by us: what is seen meanwhile is judged afterwards
)

// A record is what is known of one applied object. It holds no values of Secrets.
type record struct {
	key      key
	owner    Owner
	object   string // for people
	source   gate.Source
	identity Identity
	stage    int
	force    bool

	mu       sync.Mutex
	res      *resource
	hash     [sha256.Size]byte // of the manifest and of what the plan ignores
	manifest []byte            // to make the object anew; nil for Secrets
	ignore   [][]string
	d        []byte // D as JSON, normalised; sealed for Secrets
	digest   desired.Digest
	mask     *desired.Mask
	state    state
	version  uint64         // resourceVersion at the last look
	live     map[string]any // the object at the last look, kept only while drifted; nil for Secrets
	gone     bool           // drifted by not being there
	pending  map[string]any // the latest object seen while in flight
	goneAt   uint64         // the version at which it was seen to go while in flight
	rules    *healthRules
	health   health
}

func (r *record) secret() bool { return r.res.gk() == kindSecret }

// A store holds the records of all owners.
type store struct {
	mu    sync.RWMutex
	byKey map[key]*record
	owned map[Owner]map[key]*record
}

func newStore() *store {
	return &store{byKey: map[key]*record{}, owned: map[Owner]map[key]*record{}}
}

func (s *store) get(k key) *record {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byKey[k]
}

// add adds a record unless the object has one, and returns the one it has.
func (s *store) add(r *record) *record {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.byKey[r.key]; known != nil {
		return known
	}
	s.byKey[r.key] = r
	if s.owned[r.owner] == nil {
		s.owned[r.owner] = map[key]*record{}
	}
	s.owned[r.owner][r.key] = r
	return r
}

func (s *store) remove(r *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey[r.key] != r {
		return
	}
	delete(s.byKey, r.key)
	delete(s.owned[r.owner], r.key)
	if len(s.owned[r.owner]) == 0 {
		delete(s.owned, r.owner)
	}
}

// of returns the records of an owner; the zero Owner is everybody.
func (s *store) of(o Owner) []*record {
	s.mu.RLock()
	defer s.mu.RUnlock()
	from := s.owned[o]
	if o == (Owner{}) {
		from = s.byKey
	}
	out := make([]*record, 0, len(from))
	for _, r := range from {
		out = append(out, r)
	}
	return out
}

// judge normalises a live object and compares it with D. It needs r.mu.
func (r *record) judge(s *desired.Sealer, live map[string]any) (equal bool, norm map[string]any) {
	norm = r.res.Normalise(live)
	if r.secret() {
		norm = s.Seal(norm)
	}
	if r.mask.Digest(norm) == r.digest {
		return true, norm
	}
	d, err := decode(r.d)
	return err == nil && len(r.mask.Diff(d, norm)) == 0, norm
}

// setD sets what the object ought to be: normalised, and sealed for Secrets. It
// needs r.mu.
func (r *record) setD(d map[string]any) error {
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	r.d, r.digest = raw, r.mask.Digest(d)
	return nil
}

func decode(raw []byte) (map[string]any, error) {
	var m map[string]any
	err := utiljson.Unmarshal(raw, &m)
	return m, err
}

// versionOf returns the resourceVersion of an object as a number, which is what
// it is in Kubernetes; 0 if it is not.
func versionOf(obj map[string]any) uint64 {
	v, _ := metaString(obj, "resourceVersion")
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func metaString(obj map[string]any, field string) (string, bool) {
	meta, _ := obj["metadata"].(map[string]any)
	s, ok := meta[field].(string)
	return s, ok
}

func keyOf(res *resource, obj map[string]any) key {
	u := unstructured.Unstructured{Object: obj}
	return key{group: res.Group, kind: res.Kind.Kind, namespace: u.GetNamespace(), name: u.GetName()}
}

// terminating reports whether somebody asked to delete the object.
func terminating(obj map[string]any) bool {
	s, ok := metaString(obj, "deletionTimestamp")
	return ok && s != ""
}

// ownerOf reads who owns a live object by its labels. It is zero for nobody.
func ownerOf(obj map[string]any) Owner {
	u := unstructured.Unstructured{Object: obj}
	labels := u.GetLabels()
	return Owner{Namespace: labels[OwnerNamespaceLabel], Name: labels[OwnerNameLabel]}
}
