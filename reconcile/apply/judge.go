package apply

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"gitgate.dev/gitgate/policy/verdict"
)

// judgeItem asks the API server about one object, or decides that this must wait.
func (a *Applier) judgeItem(ctx context.Context, prep *prepared, it *item) []verdict.Finding {
	if it.skip || ctx.Err() != nil {
		return nil
	}
	if prep.mustWait(it) {
		it.deferred = true
		return a.validateOffline(prep, it)
	}
	found, err := a.ask(ctx, prep, it)
	switch {
	case err == nil:
		return found
	case prep.mayWait(it, err):
		it.deferred = true
		return append(found, a.validateOffline(prep, it)...)
	case it.force && errors.As(err, new(onlyAnew)):
		it.recreate = true
		return found
	}
	return append(found, it.refused(err))
}

// onlyAnew means that the server would accept the object if it were new, so that it
// is the change which it does not.
type onlyAnew struct{ error }

func (e onlyAnew) Unwrap() error { return e.error }

// refused is [subject.rejected], with advice where an object cannot be changed.
func (it *item) refused(err error) verdict.Finding {
	f := it.rejected(err)
	if errors.As(err, new(onlyAnew)) {
		f.Message += "; it can only be replaced: allow that with the annotation " + ForceAnnotation + ": Enabled"
	}
	return f
}

// ask learns from the API server what the object ought to be (it.d) and whether
// the write would be accepted.
func (a *Applier) ask(ctx context.Context, prep *prepared, it *item) ([]verdict.Finding, error) {
	if it.live == nil && (len(it.ignore) > 0 || it.known) {
		if err := a.readLive(ctx, it); err != nil {
			return nil, err
		}
	}
	if it.live == nil && !it.exists {
		return a.askNew(ctx, prep, it)
	}
	if it.live != nil {
		if o := ownerOf(it.live); !mayTake(it, o) {
			return []verdict.Finding{it.conflict(o)}, nil
		}
	}
	return a.askExisting(ctx, prep, it, false)
}

// mayTake reports whether an object that bears the labels of owner o is free to
// be taken over.
func mayTake(it *item, o Owner) bool {
	mine := Owner{Namespace: labelOf(it.g.Object, OwnerNamespaceLabel), Name: labelOf(it.g.Object, OwnerNameLabel)}
	return o == mine || o == (Owner{}) || annotationOf(it.live, PruneAnnotation) == "Disabled"
}

// askNew is for an object of which nothing is known. The dry run says by its
// status whether the object is new; for a new one its answer is D as well.
func (a *Applier) askNew(ctx context.Context, prep *prepared, it *item) ([]verdict.Finding, error) {
	ans, err := prep.client.apply(ctx, it.res, it.key, it.body, true)
	if err != nil {
		// Perhaps it exists and only cannot be changed in place.
		if apierrors.IsInvalid(err) && a.readLive(ctx, it) == nil && it.live != nil {
			return a.ask(ctx, prep, it)
		}
		return nil, err
	}
	if ans.created {
		return nil, it.takeD(ans.body)
	}
	if err := a.readLive(ctx, it); err != nil {
		return nil, err
	}
	if it.live == nil { // deleted this very moment
		return nil, it.takeD(ans.body)
	}
	if o := ownerOf(it.live); !mayTake(it, o) {
		return []verdict.Finding{it.conflict(o)}, nil
	}
	return a.askExisting(ctx, prep, it, true)
}

// askExisting is for an object that exists. judged means that the server has
// already accepted the write.
func (a *Applier) askExisting(ctx context.Context, prep *prepared, it *item, judged bool) ([]verdict.Finding, error) {
	own := sync.OnceValues(func() (answer, error) {
		body, err := it.write(false)
		if err != nil {
			return answer{}, err
		}
		return prep.client.apply(ctx, it.res, it.key, body, true)
	})
	var freshErr error
	if it.d == nil {
		if !judged && it.live == nil { // there is nothing to compare with: both will be asked
			go func() {
				defer func() { _ = recover() }() // whoever awaits the answer panics too
				_, _ = own()
			}()
		}
		freshErr = a.learn(ctx, prep, it)
	}
	if it.d != nil && it.live != nil && it.equal() {
		it.skip, it.adopted = true, true
		return nil, nil
	}
	if it.d != nil && it.live != nil {
		if left := a.leaveHeld(it); left != nil {
			return left, nil
		}
	}
	if judged && freshErr == nil {
		return nil, nil
	}
	ans, err := own()
	switch {
	case err != nil && apierrors.IsInvalid(err) && freshErr == nil && it.d != nil:
		return nil, onlyAnew{err}
	case err != nil:
		return nil, err
	case freshErr == nil:
		return nil, nil
	case passing(freshErr):
		return nil, freshErr
	}
	// The write is fine, but the server would not show what it makes of the
	// manifest under another name: a quota is full, or a webhook knows names.
	f := it.subject
	return []verdict.Finding{warning(f.finding(verdict.DryRunRejected,
		"what others added to this object cannot be told this time: %s", f.rejected(freshErr).Message))}, it.takeD(ans.body)
}

// learn learns D as the account for it, or else as the plan's identity.
func (a *Applier) learn(ctx context.Context, prep *prepared, it *item) error {
	c := prep.client
	if a.cfg.DryRunner.decided {
		var err error
		if c, err = a.clients.as(a.cfg.DryRunner); err != nil {
			return err
		}
	}
	return it.learnD(ctx, c)
}

// learnD learns D by a dry run under a fresh name; for Secrets without a request.
func (it *item) learnD(ctx context.Context, c *client) error {
	if it.secret {
		it.d = it.res.SecretDefault(it.g)
		return nil
	}
	renamed, err := it.res.Under(it.g, freshName())
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	body, err := json.Marshal(renamed.Object)
	if err != nil {
		return err
	}
	k := it.key
	k.name, _ = metaString(renamed.Object, "name")
	ans, err := c.apply(ctx, it.res, k, body, true)
	if err != nil {
		return err
	}
	raw, err := renamed.Back(ans.body)
	if err != nil {
		return err
	}
	return it.takeD(raw)
}

// takeD makes D of what the server answered. Secrets have theirs made here.
func (it *item) takeD(raw []byte) error {
	if it.secret {
		it.d = it.res.SecretDefault(it.g)
		return nil
	}
	obj, err := decode(raw)
	if err != nil {
		return err
	}
	it.d = it.res.Normalise(obj)
	it.res.KeepAllocations(it.d, it.g)
	return nil
}

// equal reports whether the live object is as it ought to be.
func (it *item) equal() bool {
	return !terminating(it.live) && len(it.mask.Diff(it.d, it.res.Normalise(it.live))) == 0
}

// readLive reads the live object as ourselves; nil if there is none.
func (a *Applier) readLive(ctx context.Context, it *item) error {
	live, err := a.own.get(ctx, it.res, it.key)
	switch {
	case apierrors.IsNotFound(err):
		it.live, it.exists = nil, false
		return nil
	case err != nil:
		return err
	}
	it.live, it.exists = live, true
	return nil
}

// write returns what to send for the object. Where the plan ignores fields of an
// object that exists, their live values are sent: leaving them out would remove
// them if we are their only owner. The live version is sent as well, so that a
// value that changes meanwhile is not put back; a dry run puts nothing back.
func (it *item) write(forReal bool) ([]byte, error) {
	if len(it.ignore) == 0 || it.live == nil {
		return it.body, nil
	}
	g := it.g.DeepCopy().Object
	for _, path := range it.ignore {
		v, there := lookup(it.live, path)
		put(g, path, v, there)
	}
	if forReal {
		version, _ := metaString(it.live, "resourceVersion")
		g["metadata"].(map[string]any)["resourceVersion"] = version
	}
	return json.Marshal(g)
}

func annotationOf(obj map[string]any, name string) string {
	s, _ := lookup(obj, []string{"metadata", "annotations", name})
	text, _ := s.(string)
	return text
}

func labelOf(obj map[string]any, name string) string {
	s, _ := lookup(obj, []string{"metadata", "labels", name})
	text, _ := s.(string)
	return text
}

// lookup returns the value at a path.
func lookup(v any, path []string) (any, bool) {
	for _, segment := range path {
		switch c := v.(type) {
		case map[string]any:
			next, ok := c[segment]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i := index(segment)
			if i < 0 || i >= len(c) {
				return nil, false
			}
			v = c[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// put sets the value at a path, or removes it. Where the path does not lead on
// nothing is done, except that missing objects are made to hold a value.
func put(v any, path []string, value any, set bool) {
	for i, segment := range path {
		last := i == len(path)-1
		switch c := v.(type) {
		case map[string]any:
			switch {
			case last && set:
				c[segment] = value
			case last:
				delete(c, segment)
			case c[segment] == nil && set:
				c[segment] = map[string]any{}
			}
			v = c[segment]
		case []any:
			at := index(segment)
			if at < 0 || at >= len(c) {
				return
			}
			if last && set {
				c[at] = value
			}
			v = c[at]
		default:
			return
		}
	}
}

// index reads an index of a JSON pointer; -1 if it is none.
func index(segment string) int {
	if segment == "" || len(segment) > 6 || slices.ContainsFunc([]byte(segment), func(b byte) bool { return b < '0' || b > '9' }) {
		return -1
	}
	n := 0
	for _, b := range []byte(segment) {
		n = 10*n + int(b-'0')
	}
	return n
}
