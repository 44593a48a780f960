package lock

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// maxRecent bounds what is remembered: more than controllers create between two
// events of a watch. Of objects larger than maxRecentBytes the news has to be
// awaited.
const (
	maxRecent      = 512
	maxRecentBytes = 32 << 10
)

// recent remembers the owners of children that were admitted a moment ago and that
// informers may not have yet. It is safe for concurrent use.
type recent struct {
	mu    sync.Mutex
	byUID map[types.UID]map[string]any
	ring  [maxRecent]types.UID
	next  int
}

func newRecent() *recent { return &recent{byUID: map[types.UID]map[string]any{}} }

// get returns the object as it was admitted last.
func (m *recent) get(uid types.UID) (map[string]any, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	obj, ok := m.byUID[uid]
	return obj, ok
}

// put remembers an object. It must not change any more.
func (m *recent) put(uid types.UID, obj map[string]any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.byUID[uid]; !known {
		delete(m.byUID, m.ring[m.next])
		m.ring[m.next] = uid
		m.next = (m.next + 1) % maxRecent
	}
	m.byUID[uid] = obj
}

// owners are the resources whose objects have children that the lock derives.
var owners = map[string]bool{
	"apps/deployments": true, "apps/replicasets": true, "apps/statefulsets": true, "apps/daemonsets": true,
	"batch/jobs": true, "batch/cronjobs": true, "/replicationcontrollers": true, "/services": true, "/pods": true,
	"apps/controllerrevisions": true,
}

// remember keeps an admitted owner, for its children may be asked about before
// informers know it.
func (r *review) remember() {
	if r.kept || !r.main() || r.dryRun() || !owners[r.req.Resource.Group+"/"+r.req.Resource.Resource] || r.snap.top == nil {
		return
	}
	r.kept = true
	if len(r.req.Object.Raw) > maxRecentBytes {
		return
	}
	if s := r.scope(); s.closed == nil && s.managed == nil && r.req.Namespace != r.lock.cfg.System {
		return
	}
	if _, ok := r.decode(); !ok || r.new == nil {
		return
	}
	if uid := text(r.new, "metadata", "uid"); uid != "" {
		r.lock.recent.put(types.UID(uid), r.new)
	}
}
