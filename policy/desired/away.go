package desired

import (
	"slices"
	"strings"
)

// Away lists the changes from old to live that w may not make: those that
// neither lead to d nor touch only what the guard leaves to w. All three are
// normalised. Old of each change is what d has there, and New what was tried.
//
// What did not change is not judged: a leaf that differs from d in old as in live
// is not listed. As in [Mask.Diff] order counts. At most a thousand are listed.
func (g *Guard) Away(d, old, live map[string]any, w Writer) []Change {
	a := away{w: w}
	var root *place
	if g != nil {
		root = g.root
	}
	a.object(nil, root, lease{}, asAny(d), asAny(old), asAny(live))
	slices.SortStableFunc(a.changes, func(x, y Change) int { return strings.Compare(x.Path.String(), y.Path.String()) })
	return a.changes
}

// Drift lists how live differs from d where no row leaves it to anybody.
func (g *Guard) Drift(d, live map[string]any) []Change {
	a := away{anyone: true}
	var root *place
	if g != nil {
		root = g.root
	}
	a.object(nil, root, lease{}, asAny(d), asAny(d), asAny(live))
	return a.changes
}

func asAny(m map[string]any) any {
	if m == nil {
		return nil
	}
	return m
}

// A lease says whose a place is by the rows at it and above it.
type lease struct {
	mine     bool // the writer's
	reserved bool // another's: not even a change towards D is for others to make
}

type away struct {
	w       Writer
	anyone  bool // every row is the writer's
	changes []Change
}

func (a *away) writes(l *Leaf) bool { return a.anyone || l.writes(a.w) }

func (a *away) add(at *trail, d, live any) {
	a.note(Change{Path: at.path(), Old: d, New: live})
}

// maxAway bounds the changes that are listed: one is as bad as many, and sorting
// them takes time.
const maxAway = 1000

func (a *away) note(c Change) {
	if len(a.changes) < maxAway {
		a.changes = append(a.changes, c)
	}
}

// lease works out whose the place is. done means that the change needs no
// further look.
func (a *away) lease(p *place, l lease, old, live any) (out lease, done bool) {
	switch {
	case p == nil:
		return l, false
	case p.free:
		return l, true
	case p.declared:
		return lease{}, false
	}
	for _, row := range p.rows {
		switch {
		case len(row.Tokens) > 0: // judged item by item
		case a.writes(row):
			if row.DropOnly {
				if dropped(old, live) {
					return l, true
				}
				continue
			}
			l.mine = true
		case !row.DropOnly && len(row.Writers) > 0 && !p.shared:
			l.reserved = true
		}
	}
	return l, l.mine && p.leaf() && len(p.keep) == 0
}

func (a *away) value(at *trail, p *place, l lease, d, old, live any) {
	if quick(old, live) {
		return
	}
	l, done := a.lease(p, l, old, live)
	if done || l.mine && p == nil {
		return
	}
	switch {
	case (old == nil || live == nil) && (p == nil || p.leaf() && len(p.rows) == 0):
		a.leaf(at, p, l, d, old, live) // what comes or goes does so as a whole
	case isOr[map[string]any](old, live):
		a.object(at, p, l, d, old, live)
	case isOr[[]any](old, live):
		a.list(at, p, l, d, old, live)
	default:
		a.leaf(at, p, l, d, old, live)
	}
}

// isOr reports whether one of the two is a T and the other is too or is absent.
func isOr[T any](x, y any) bool {
	_, xs := x.(T)
	_, ys := y.(T)
	return xs && (ys || y == nil) || ys && x == nil
}

// leaf judges a value as a whole.
func (a *away) leaf(at *trail, p *place, l lease, d, old, live any) {
	switch {
	case l.mine || equal(old, live):
	case l.reserved:
		a.note(Change{Path: at.path(), Old: d, New: live, Reserved: true})
	case equal(d, live):
	case p != nil && p.slot && allocated(d, live) && !allocated(old, live):
		// The server fills it; nobody moves it from one value to another.
	default:
		a.add(at, d, live)
	}
}

func (a *away) object(at *trail, p *place, l lease, d, old, live any) {
	dm, _ := d.(map[string]any)
	om, _ := old.(map[string]any)
	lm, _ := live.(map[string]any)
	before := len(a.changes)
	for k, o := range om {
		a.value(&trail{at, Step{Field: k}}, p.below(k), l, dm[k], o, lm[k])
	}
	for k, v := range lm {
		if _, there := om[k]; !there {
			a.value(&trail{at, Step{Field: k}}, p.below(k), l, dm[k], nil, v)
		}
	}
	// An object that became empty, or went, can mean more than its fields did.
	if len(lm) == 0 && len(a.changes) == before && at != nil && !l.mine && !(len(om) > 0 && vacant(p, om)) {
		a.leaf(at, p, l, d, old, live)
	}
}

// vacant reports whether o held nothing but what rows give to writers.
func vacant(p *place, o map[string]any) bool {
	for k := range o {
		if b := p.below(k); b == nil || len(b.rows) == 0 && !b.free && !b.slot {
			return false
		}
	}
	return true
}

func (a *away) list(at *trail, p *place, l lease, d, old, live any) {
	dl, _ := d.([]any)
	ol, _ := old.([]any)
	ll, _ := live.([]any)
	if l.mine && p.leaf() {
		if !keeps(p.keep, ol, ll) {
			a.add(at, d, live)
		}
		return
	}
	if p != nil && len(p.rows) > 0 && !l.mine {
		if !a.tokens(p, dl, ol, ll) {
			a.note(Change{Path: at.path(), Old: d, New: live, Reserved: true})
			return
		}
		ol, ll, dl = p.withoutTokens(ol), p.withoutTokens(ll), p.withoutTokens(dl)
		if equal(ol, ll) {
			return
		}
		d, old, live = absentIfEmpty(d, dl), absentIfEmpty(old, ol), absentIfEmpty(live, ll)
	}
	key := keyOf(ol, ll)
	if key != nil && len(dl) > 0 && (!allObjects(dl) || !unique(key, dl)) {
		key = nil
	}
	switch {
	case old == nil || live == nil || l.reserved:
		a.leaf(at, p, l, d, old, live)
	case key != nil:
		a.keyed(at, p, l, key, dl, ol, ll)
	case len(ol) == len(ll) && len(dl) == len(ll) && allObjects(ol) && allObjects(ll):
		for i := range ll {
			a.value(&trail{at, Step{Index: i}}, p.item(i, ""), l, dl[i], ol[i], ll[i])
		}
	default:
		a.leaf(at, p, lease{reserved: l.reserved}, d, old, live)
	}
}

// absentIfEmpty returns nil if taking tokens out of v left nothing.
func absentIfEmpty(v any, left []any) any {
	if len(left) == 0 {
		return nil
	}
	return left
}

// keyed judges lists whose items bear unique keys, item by item and as to order.
func (a *away) keyed(at *trail, p *place, l lease, key []string, d, old, live []any) {
	wanted, was, is := positions(key, d), positions(key, old), positions(key, live)
	before := len(a.changes)
	for i, o := range old {
		k := keyText(key, o)
		want, j := find(d, wanted, k)
		now, _ := find(live, is, k)
		a.value(&trail{at, Step{Index: i, Key: k}}, p.item(j, k), l, want, o, now)
	}
	for i, v := range live {
		k := keyText(key, v)
		if _, there := was[k]; !there {
			want, j := find(d, wanted, k)
			a.value(&trail{at, Step{Index: i, Key: k}}, p.item(j, k), l, want, nil, v)
		}
	}
	if len(a.changes) == before && !sameOrder(key, live, was) && !inOrder(key, live, wanted) {
		a.add(at, d, live)
	}
}

// find returns the item of that key and its position, or nil and -1.
func find(l []any, index map[string]int, key string) (any, int) {
	if i, ok := index[key]; ok {
		return l[i], i
	}
	return nil, -1
}

func positions(key []string, l []any) map[string]int {
	m := make(map[string]int, len(l))
	for i, v := range l {
		m[keyText(key, v)] = i
	}
	return m
}

// sameOrder reports whether live is old without some items: nothing was added or
// moved.
func sameOrder(key []string, live []any, was map[string]int) bool {
	last := -1
	for _, v := range live {
		i, there := was[keyText(key, v)]
		if !there || i < last {
			return false
		}
		last = i
	}
	return true
}

// inOrder reports whether the items of live that are wanted stand in the order
// in which they are.
func inOrder(key []string, live []any, wanted map[string]int) bool {
	last := -1
	for _, v := range live {
		i, there := wanted[keyText(key, v)]
		if !there {
			continue
		}
		if i < last {
			return false
		}
		last = i
	}
	return true
}

// tokens reports whether the writer may make the changes among the items that
// rows give to writers. To put one back that d has is nobody's harm.
func (a *away) tokens(p *place, d, old, live []any) bool {
	for _, row := range p.rows {
		if len(row.Tokens) == 0 || a.writes(row) {
			continue
		}
		for _, t := range row.Tokens {
			if a.otherMay(p, t) {
				continue
			}
			if was, is := containsValue(old, t), containsValue(live, t); was != is && !(is && containsValue(d, t)) {
				return false
			}
		}
	}
	return true
}

// otherMay reports whether another row gives the token to this writer.
func (a *away) otherMay(p *place, token string) bool {
	return slices.ContainsFunc(p.rows, func(l *Leaf) bool { return contains(l.Tokens, token) && a.writes(l) })
}

// withoutTokens returns the list without the items that rows give to writers.
func (p *place) withoutTokens(l []any) []any {
	n := node{}
	for _, row := range p.rows {
		n.tokens = append(n.tokens, row.Tokens...)
	}
	return withoutTokens(&n, l)
}

// keeps reports whether live has all that is to be kept and that old had.
func keeps(keep, old, live []any) bool {
	return !slices.ContainsFunc(keep, func(k any) bool { return containsValue(old, k) && !containsValue(live, k) })
}
