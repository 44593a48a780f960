package gitrepo

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// A Person is an author, committer or tagger. A zero time is set by the clock of
// the repository.
type Person struct {
	Name, Email string
	When        time.Time
}

func (p Person) encode() string {
	return fmt.Sprintf("%s <%s> %d %s", p.Name, p.Email, p.When.Unix(), p.When.Format("-0700"))
}

// A Signer signs the bytes of a commit or tag and returns armored text.
type Signer interface {
	Sign(payload []byte) (string, error)
}

// A Header is an additional header of a commit.
type Header struct{ Name, Value string }

// A Change describes one commit. The zero value of each field is what git commit
// would do: take the tree of the branch's tip, add to it, and move the branch.
type Change struct {
	// Files are contents by path; directories come into being as needed.
	Files map[string]string
	// Executable lists those of Files that carry the executable bit.
	Executable []string
	// Symlinks are targets by path.
	Symlinks map[string]string
	// Submodules are commits by path.
	Submodules map[string]plumbing.Hash
	// Delete lists paths, of files or of whole directories, to take away.
	Delete []string
	// Tree replaces all of the above by a tree that exists.
	Tree plumbing.Hash

	// Parents replaces the tip of the branch. The first is where Files and Delete
	// start from.
	Parents []plumbing.Hash
	// Orphan makes a commit without parents.
	Orphan bool
	// Branch is the branch to commit to; main by default.
	Branch string
	// Detached leaves the branch where it is.
	Detached bool

	// Message is the commit message. It has a default.
	Message string
	// Author is who wrote it; by default Nobody <nobody@example.com>.
	Author Person
	// Committer is by default the author.
	Committer Person
	// Headers come after the committer, before the signature.
	Headers []Header

	// Sign signs the commit. Nil leaves it unsigned.
	Sign Signer
	// SignatureHeader names the header of the signature; gpgsig by default.
	SignatureHeader string
	// BeforeSign edits the bytes that are signed.
	BeforeSign func([]byte) []byte
	// Raw edits the final bytes, signature and all.
	Raw func([]byte) []byte
}

// Commit writes a commit and returns its hash.
func (r *Repo) Commit(c Change) (plumbing.Hash, error) {
	branch := "refs/heads/" + c.Branch
	if c.Branch == "" {
		branch = "refs/heads/main"
	}
	if tip := r.Ref(branch); c.Parents == nil && !c.Orphan && !tip.IsZero() {
		c.Parents = []plumbing.Hash{tip}
	}
	if err := r.complete(&c); err != nil {
		return plumbing.ZeroHash, err
	}
	raw, err := c.encode()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	h, err := r.Object(plumbing.CommitObject, raw)
	if err != nil || c.Detached {
		return h, err
	}
	return h, r.SetRef(branch, h)
}

// complete fills in persons and the tree.
func (r *Repo) complete(c *Change) error {
	if c.Author.Name == "" && c.Author.Email == "" {
		c.Author.Name, c.Author.Email = "Nobody", "nobody@example.com"
	}
	if c.Author.When.IsZero() {
		c.Author.When = r.Clock()
	}
	if c.Committer.Name == "" && c.Committer.Email == "" {
		c.Committer.Name, c.Committer.Email = c.Author.Name, c.Author.Email
	}
	if c.Committer.When.IsZero() {
		c.Committer.When = c.Author.When
	}
	if c.Message == "" {
		c.Message = "Change something\n"
	}
	if !c.Tree.IsZero() {
		return nil
	}
	dir := directory{}
	if len(c.Parents) > 0 {
		raw, err := r.Raw(c.Parents[0])
		if err != nil {
			return err
		}
		tree, _, ok := strings.Cut(strings.TrimPrefix(string(raw), "tree "), "\n")
		if !ok {
			return fmt.Errorf("commit %s has no tree", c.Parents[0])
		}
		if dir, err = r.openTree(plumbing.NewHash(tree)); err != nil {
			return err
		}
	}
	if err := r.apply(dir, c); err != nil {
		return err
	}
	var err error
	c.Tree, err = r.writeTree(dir)
	return err
}

// apply edits dir as the change says.
func (r *Repo) apply(dir directory, c *Change) error {
	for _, name := range c.Delete {
		if err := r.remove(dir, strings.Split(name, "/")); err != nil {
			return fmt.Errorf("delete %s: %w", name, err)
		}
	}
	add := func(name, mode, content string) error {
		h, err := r.Object(plumbing.BlobObject, []byte(content))
		if err != nil {
			return err
		}
		return r.put(dir, name, node{mode: mode, hash: h})
	}
	for name, content := range c.Files {
		mode := "100644"
		if slices.Contains(c.Executable, name) {
			mode = "100755"
		}
		if err := add(name, mode, content); err != nil {
			return err
		}
	}
	for name, target := range c.Symlinks {
		if err := add(name, "120000", target); err != nil {
			return err
		}
	}
	for name, commit := range c.Submodules {
		if err := r.put(dir, name, node{mode: "160000", hash: commit}); err != nil {
			return err
		}
	}
	return nil
}

// put refuses paths that git add would refuse: a tree that holds them is to be
// written byte by byte.
func (r *Repo) put(dir directory, name string, n node) error {
	if !fs.ValidPath(name) || name == "." {
		return fmt.Errorf("path %q is not valid: write such trees with EncodeTree and Repo.Object", name)
	}
	return r.add(dir, strings.Split(name, "/"), n)
}

// encode writes the commit as git does.
func (c *Change) encode() ([]byte, error) {
	var head bytes.Buffer
	fmt.Fprintf(&head, "tree %s\n", c.Tree)
	for _, p := range c.Parents {
		fmt.Fprintf(&head, "parent %s\n", p)
	}
	fmt.Fprintf(&head, "author %s\ncommitter %s\n", c.Author.encode(), c.Committer.encode())
	for _, h := range c.Headers {
		head.WriteString(fold(h))
	}
	raw := append(head.Bytes(), "\n"+c.Message...)
	if c.BeforeSign != nil {
		raw = c.BeforeSign(raw)
	}
	if c.Sign != nil {
		armored, err := c.Sign.Sign(raw)
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		name := c.SignatureHeader
		if name == "" {
			name = "gpgsig"
		}
		raw = InsertHeader(raw, Header{name, armored})
	}
	if c.Raw != nil {
		raw = c.Raw(raw)
	}
	return raw, nil
}

func fold(h Header) string {
	return h.Name + " " + strings.ReplaceAll(strings.TrimRight(h.Value, "\n"), "\n", "\n ") + "\n"
}

// InsertHeader puts a header after all others, folding its lines, as git does
// with a signature.
func InsertHeader(raw []byte, h Header) []byte {
	end := bytes.Index(raw, []byte("\n\n"))
	if end < 0 {
		return append(slices.Clone(raw), fold(h)...)
	}
	return slices.Concat(raw[:end+1], []byte(fold(h)), raw[end+1:])
}

// A Tag is an annotated tag.
type Tag struct {
	// Name is the name of the tag, without refs/tags/.
	Name string
	// Target is the commit.
	Target plumbing.Hash
	// Message is the tag message. It has a default.
	Message string
	// Tagger is by default Nobody <nobody@example.com>.
	Tagger Person
	// Sign signs the tag. Nil leaves it unsigned.
	Sign Signer
	// Raw edits the final bytes, signature and all.
	Raw func([]byte) []byte
}

// Tag writes an annotated tag, points refs/tags/<name> at it and returns its
// hash. [Repo.Raw] gives its bytes.
func (r *Repo) Tag(t Tag) (plumbing.Hash, error) {
	if t.Tagger.Name == "" && t.Tagger.Email == "" {
		t.Tagger.Name, t.Tagger.Email = "Nobody", "nobody@example.com"
	}
	if t.Tagger.When.IsZero() {
		t.Tagger.When = r.Clock()
	}
	if t.Message == "" {
		t.Message = t.Name + "\n"
	}
	raw := fmt.Appendf(nil, "object %s\ntype commit\ntag %s\ntagger %s\n\n%s", t.Target, t.Name, t.Tagger.encode(), t.Message)
	if t.Sign != nil {
		armored, err := t.Sign.Sign(raw)
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("sign: %w", err)
		}
		raw = append(raw, armored...)
	}
	if t.Raw != nil {
		raw = t.Raw(raw)
	}
	h, err := r.Object(plumbing.TagObject, raw)
	if err != nil {
		return h, err
	}
	return h, r.SetRef("refs/tags/"+t.Name, h)
}
