package source

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// DefaultTimeout bounds a fetch whose options name no timeout.
const DefaultTimeout = time.Minute

// A Cache is a directory of clones, one for each URL. Several processes may use
// the same directory. It is safe for concurrent use.
type Cache struct {
	dir string

	mu     sync.Mutex
	clones map[string]*clone // by the name of their directory
	users  map[string]int    // open repositories of each
}

// Open opens a cache, and makes the directory if there is none.
func Open(dir string) (*Cache, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open the cache of repositories: %w", err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("open the cache of repositories: %w", err)
	}
	return &Cache{dir: abs, clones: map[string]*clone{}, users: map[string]int{}}, nil
}

// Options say what to fetch and how.
type Options struct {
	// URL is the repository's address; see [ParseURL].
	URL string
	// Branch is the branch to follow, such as "main".
	Branch string
	// Auth is the credentials. Zero means none.
	Auth Auth
	// Timeout bounds one fetch. Zero means [DefaultTimeout].
	Timeout time.Duration
	// Limits bound what the remote may send. Zero means the defaults.
	Limits Limits
	// Offline never asks the remote, and needs no credentials: only what earlier
	// fetches brought can be read, and [Repository.Fetch] fails.
	Offline bool
	// AllowInsecureLoopback accepts http:// URLs of loopback addresses, for
	// tests and demonstrations.
	AllowInsecureLoopback bool
}

// A remote is the other side of a Repository.
type remote interface {
	// open starts a session; the greeting is exchanged.
	open(context.Context) (session, error)
	// close drops idle connections.
	close()
}

// A session lists references and may then fetch once.
type session interface {
	list(ctx context.Context, prefixes []string) ([]ref, error)
	fetch(ctx context.Context, wants, haves []plumbing.Hash) (io.Reader, error)
	close()
}

// noRemote is the other side of a Repository that is offline.
type noRemote struct{}

func (noRemote) open(context.Context) (session, error) {
	return nil, unavailable("the repository was opened offline")
}

func (noRemote) close() {}

// A Repository is one user's access to a remote. It is safe for concurrent use.
type Repository struct {
	url     URL
	branch  string
	timeout time.Duration
	limits  Limits
	secrets []string
	remote  remote
	clone   *clone
	release func() // lets go of the clone, once

	mu   sync.Mutex
	last plumbing.Hash
}

// A Tag is an annotated tag under refs/tags/gitgate-rollback/.
type Tag struct {
	// Name is the tag's name after that prefix.
	Name string
	Hash plumbing.Hash
	// Object is the tag's raw content, as its signature covers it.
	Object []byte
}

// A Result is what a fetch found.
type Result struct {
	// Head is the commit that the branch is at.
	Head plumbing.Hash
	// Changed says that Head is not that of the previous fetch of the same
	// [Repository]. The first fetch always is a change.
	Changed bool
	// Objects holds the whole history of Head and of the tags.
	Objects *Objects
	// Tags are the signed-rollback tags, by name. Whether they are signed is
	// not looked at.
	Tags []Tag
}

// Repository returns access to a remote. Nothing is read yet. Call
// [Repository.Close] when done: until then [Cache.Prune] spares the clone. Errors wrap
// [ErrInvalidURL] or [ErrInvalidAuth], or name the wrong option.
func (c *Cache) Repository(o Options) (*Repository, error) {
	parse := ParseURL
	if o.AllowInsecureLoopback {
		parse = ParseLoopbackURL
	}
	u, err := parse(o.URL)
	if err != nil {
		return nil, err
	}
	limits, err := o.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.Timeout < 0 {
		return nil, fmt.Errorf("timeout %s is negative", o.Timeout)
	}
	if strings.HasPrefix(o.Branch, "-") || plumbing.NewBranchReferenceName(o.Branch).Validate() != nil {
		return nil, fmt.Errorf("branch %q is no valid branch name", o.Branch)
	}
	if o.Auth.origin != "" && o.Auth.origin != u.origin() {
		return nil, invalidAuth("they were made for another host")
	}
	if u.SSH() && o.Auth.signer == nil && !o.Offline {
		return nil, invalidAuth("ssh needs a Secret with %q and %q", keyIdentity, keyKnownHosts)
	}
	r := &Repository{
		url: u, branch: o.Branch, limits: limits, secrets: o.Auth.secrets(),
		timeout: cmp.Or(o.Timeout, DefaultTimeout),
	}
	r.clone, r.release = c.use(u.String())
	if o.Offline {
		r.remote = noRemote{}
	} else if u.SSH() {
		r.remote = &sshRemote{peer: peer{limits}, url: u, auth: o.Auth}
	} else {
		r.remote = newHTTPRemote(u, o.Auth, limits)
	}
	return r, nil
}

// cloneDir names the directory of a clone.
func cloneDir(url string) string {
	sum := sha256.Sum256([]byte(url))
	return hex.EncodeToString(sum[:16]) + cloneSuffix
}

// use returns the clone of a URL, and counts one user of it until it is released.
func (c *Cache) use(url string) (*clone, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := cloneDir(url)
	if c.clones[name] == nil {
		c.clones[name] = newClone(url, filepath.Join(c.dir, name))
	}
	c.users[name]++
	return c.clones[name], sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.users[name]--; c.users[name] == 0 {
			delete(c.users, name)
		}
	})
}

// Close drops idle connections to the remote. The clone stays, but nobody spares
// it for this Repository any more: do not use it afterwards.
func (r *Repository) Close() {
	r.remote.close()
	r.release()
}

// URL returns the repository's canonical URL.
func (r *Repository) URL() string { return r.url.String() }

// Fetch asks the remote where the branch is and brings what is new of it and of
// the rollback tags. When nothing is new that takes one request over HTTP, one
// connection over SSH. A failure is an [*Error] and leaves the clone as it was.
func (r *Repository) Fetch(ctx context.Context) (*Result, error) {
	cause := fmt.Errorf("not done within the timeout of %s: %w", r.timeout, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(ctx, r.timeout, cause)
	defer cancel()
	op, result, err := r.fetch(ctx)
	if err != nil {
		// A broken connection is the effect of the timeout, not the cause.
		if ctx.Err() != nil {
			err = unavailable("%w", context.Cause(ctx))
		}
		return nil, wrap(op, r.URL(), r.secrets, err)
	}
	return result, nil
}

func (r *Repository) fetch(ctx context.Context) (op string, _ *Result, err error) {
	if err := r.clone.load(ctx); err != nil {
		return "store", nil, err
	}
	s, err := r.remote.open(ctx)
	if err != nil {
		return "list", nil, err
	}
	defer s.close()
	refs, err := s.list(ctx, []string{r.headRef(), tagPrefix})
	if err != nil {
		return "list", nil, err
	}
	head, tags, err := r.choose(refs)
	if err != nil {
		return "list", nil, err
	}
	wants := []plumbing.Hash{head}
	for _, t := range tags {
		wants = append(wants, t.hash)
	}
	if !r.clone.hasAll(wants) {
		if err := r.download(ctx, s, head, wants); err != nil {
			return "fetch", nil, err
		}
	}
	result, err := r.result(head, tags)
	return "read", result, err
}

func (r *Repository) headRef() string { return "refs/heads/" + r.branch }

// choose picks the branch and the rollback tags out of an advertisement.
func (r *Repository) choose(refs []ref) (head plumbing.Hash, tags []ref, err error) {
	for _, ref := range refs {
		switch {
		case ref.name == r.headRef():
			head = ref.hash
		case strings.HasPrefix(ref.name, tagPrefix) && ref.annotated:
			tags = append(tags, ref)
		}
	}
	if head == plumbing.ZeroHash {
		return head, nil, unavailable("the remote has no branch %q", r.branch)
	}
	if len(tags) > r.limits.Tags {
		return head, nil, limitExceeded("the remote has more than %d tags under %s", r.limits.Tags, tagPrefix)
	}
	slices.SortFunc(tags, func(a, b ref) int { return strings.Compare(a.name, b.name) })
	return head, tags, nil
}

// download fetches what the clone lacks. Users of one clone take turns, so the
// second finds what the first has brought.
func (r *Repository) download(ctx context.Context, s session, head plumbing.Hash, wants []plumbing.Hash) error {
	c := r.clone
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	fresh := c.damaged.Load() || c.outgrown(r.limits)
	var haves []plumbing.Hash
	if !fresh {
		if wants = c.lacking(wants); len(wants) == 0 {
			return nil
		}
		if haves, err = c.haves(); err != nil {
			return err
		}
	}
	slices.SortFunc(wants, func(a, b plumbing.Hash) int { return bytes.Compare(a[:], b[:]) })
	wants = slices.Compact(wants)
	pack, err := s.fetch(ctx, wants, haves)
	if err != nil {
		return err
	}
	if err := c.receive(ctx, pack, r.limits, fresh); err != nil {
		return err
	}
	if fresh {
		if err := c.dropHeads(); err != nil {
			return err
		}
		c.damaged.Store(false)
	}
	if missing := c.lacking(wants); len(missing) > 0 {
		return problemf(IncompleteHistory, "the server did not send %s, which it lists", missing[0])
	}
	if err := c.writeHead(r.branch, head); err != nil {
		return err
	}
	return c.tidy()
}

func (r *Repository) result(head plumbing.Hash, tags []ref) (*Result, error) {
	o := r.clone.objects()
	if _, err := o.EncodedObject(plumbing.CommitObject, head); err != nil {
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return nil, malformed("branch %q is at %s, which is no commit", r.branch, head)
		}
		return nil, err
	}
	res := &Result{Head: head, Objects: o}
	for _, t := range tags {
		object, err := o.read(t.hash)
		switch {
		case err != nil:
			return nil, err
		case object.kind != plumbing.TagObject:
			return nil, malformed("tag %q is at %s, which is no tag", t.name, t.hash)
		case len(object.data) > maxTagBytes:
			return nil, limitExceeded("tag %q is larger than %d bytes", t.name, maxTagBytes)
		}
		res.Tags = append(res.Tags, Tag{Name: strings.TrimPrefix(t.name, tagPrefix), Hash: t.hash, Object: slices.Clone(object.data)})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	res.Changed, r.last = r.last != head, head
	return res, nil
}

// Objects opens the clone without asking the remote: what earlier fetches
// brought, for going on while the remote is away. It fails if the clone is
// damaged.
func (r *Repository) Objects(ctx context.Context) (*Objects, error) {
	if err := r.clone.load(ctx); err != nil {
		return nil, wrap("store", r.URL(), r.secrets, err)
	}
	if r.clone.damaged.Load() {
		return nil, wrap("store", r.URL(), r.secrets, damaged("the next fetch replaces it"))
	}
	return r.clone.objects(), nil
}

// SetApplied remembers, beyond restarts and power failures, which commit an
// owner has applied. The owner is any text that names one user of the clone,
// such as "namespace/name". The zero hash forgets, what [Repository.SetEarlier]
// remembers as well.
func (r *Repository) SetApplied(owner string, h plumbing.Hash) error {
	return wrap("store", r.URL(), r.secrets, r.clone.setApplied(owner, h))
}

// Applied returns what SetApplied remembers; the zero hash if nothing. A
// reference that cannot be read is an [*Error] with the reason [HashMismatch],
// not nothing: to take it for nothing would be to accept any history.
func (r *Repository) Applied(owner string) (plumbing.Hash, error) {
	h, err := r.clone.applied(owner)
	return h, wrap("store", r.URL(), r.secrets, err)
}

// MaxEarlier bounds what SetEarlier remembers.
const MaxEarlier = 16

// SetEarlier remembers, as [Repository.SetApplied] does, which commits of an owner
// were in force before the one that is. Of more than [MaxEarlier] the last stay.
func (r *Repository) SetEarlier(owner string, heads []plumbing.Hash) error {
	return wrap("store", r.URL(), r.secrets, r.clone.setEarlier(owner, heads))
}

// Earlier returns what SetEarlier remembers, in the same order. It is a hint: where
// nothing is remembered, or it cannot be read, there is none.
func (r *Repository) Earlier(owner string) []plumbing.Hash { return r.clone.earlier(owner) }
