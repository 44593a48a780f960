package policy

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// An Operation says what is to happen to the object.
type Operation string

// The operations.
const (
	Create Operation = "CREATE"
	Update Operation = "UPDATE"
	Delete Operation = "DELETE"
)

// An Input is one object to judge, and what is known about the change. What is
// left empty is undefined in Rego, and not known unless None says otherwise: a rule
// that comes to read it is undetermined.
type Input struct {
	// Operation is [Create] when empty.
	Operation Operation
	// Object is the new object as JSON, nil when it is deleted. OldObject is the
	// one that it replaces, required by [Delete]. Values of Secrets are replaced
	// by "(redacted)" before any rule sees them.
	Object, OldObject []byte
	// ObjectID names the object in findings; it is derived when empty.
	ObjectID string
	// Namespace is the Namespace of the object as JSON, if it is known.
	Namespace []byte
	// User is who asks, if this is an admission request.
	User *UserInfo
	// Commit is the commit that says so, if one does.
	Commit *Commit
	// Images are the images of the object that were verified. Nil is not known; an
	// object without images has an empty list.
	Images []Image
	// File and Line are where the object comes from; 0 is unknown.
	File string
	Line int
	// Inventory is data.inventory.
	Inventory *Inventory
	// Time is when the decision is made; zero is not known. Rules see whole seconds.
	Time time.Time
	// None are the parts of which the caller knows that there is none, as there is no
	// Namespace of an object that is in none. Of a [Create] it need not say that
	// nothing is replaced.
	None Part
	// Together says that the caller asks [Engine.EvaluateTogether] as well. Otherwise a
	// set that judges objects together is undetermined.
	Together bool
	// Generated says that nobody wrote the object: it stands for one that a controller
	// would make of another, as by an ExpansionTemplate of Gatekeeper. Constraints
	// select by it (spec.match.source).
	Generated bool
}

// A UserInfo is who asks, as in an admission request.
type UserInfo struct {
	Username, UID string
	Groups        []string
	Extra         map[string][]string
}

// A Commit is a verified commit.
type Commit struct {
	SHA, Author, Message string
	Signers, Paths       []string
}

// An Image is an image reference of the object and what verifying it gave.
type Image struct {
	Ref, Digest string
	// Authorities are those that vouched for the digest.
	Authorities []string
	// Attestations are those about the digest that were verified. Nil is not known; an
	// image without any has an empty list.
	Attestations []Attestation
}

// A header is what selects the sets for an object.
type header struct {
	apiVersion, group, kind, namespace, name string
	generated                                bool // the name is only the beginning of one
	labels                                   map[string]string
}

// headerReads is what a header is made from.
var headerReads = func() *readPaths {
	all := &readPaths{all: true}
	return &readPaths{keys: map[string]*readPaths{
		"apiVersion": all, "kind": all,
		"metadata": {keys: map[string]*readPaths{"name": all, "generateName": all, "namespace": all, "labels": all}},
	}}
}()

// readHeader reads no further than it needs to; decoding the object checks the
// rest. Its keys are in order in what our own encoders write.
func readHeader(src string, intern map[string]*ast.Term) (header, error) {
	d := decoder{src: src, intern: intern, hasty: true}
	var h header
	if d.space(); d.pos >= len(d.src) || d.src[d.pos] != '{' {
		return h, errors.New("the document is not a JSON object")
	}
	empty, err := d.enter('}')
	if err != nil {
		return h, err
	}
	found := 0
	for done := empty; !done && found < 3; {
		base := len(d.items)
		if err := d.member(headerReads, false, 0); err != nil {
			return h, fmt.Errorf("byte %d: %w", d.pos, err)
		}
		for _, item := range d.items[base:] {
			found++
			if err := h.set(string(item[0].Value.(ast.String)), item[1].Value); err != nil {
				return h, err
			}
		}
		if done, err = d.next('}'); err != nil {
			return h, fmt.Errorf("byte %d: %w", d.pos, err)
		}
	}
	if h.apiVersion == "" || h.kind == "" {
		return h, errors.New("apiVersion or kind is missing")
	}
	return h, nil
}

func (h *header) set(key string, v ast.Value) error {
	if key != "metadata" {
		s, ok := v.(ast.String)
		if !ok {
			return fmt.Errorf("%s is not a string", key)
		}
		if key == "kind" {
			h.kind = string(s)
			return nil
		}
		h.apiVersion = string(s)
		if group, _, ok := strings.Cut(h.apiVersion, "/"); ok {
			h.group = group
		}
		return nil
	}
	if _, null := v.(ast.Null); null {
		return nil
	}
	meta, ok := v.(ast.Object)
	if !ok {
		return errors.New("metadata is not an object")
	}
	var generated string
	for field, p := range map[string]*string{"name": &h.name, "namespace": &h.namespace, "generateName": &generated} {
		if err := stringMember(meta, field, p); err != nil {
			return fmt.Errorf("metadata.%w", err)
		}
	}
	if h.name == "" {
		h.name, h.generated = generated, generated != ""
	}
	labels := meta.Get(ast.InternedTerm("labels"))
	if labels == nil || labels.Value.Compare(ast.InternedNullValue) == 0 {
		return nil
	}
	obj, ok := labels.Value.(ast.Object)
	if !ok {
		return errors.New("metadata.labels is not an object")
	}
	h.labels = make(map[string]string, obj.Len())
	return obj.Iter(func(k, v *ast.Term) error {
		s, ok := v.Value.(ast.String)
		if !ok {
			return fmt.Errorf("metadata.labels[%s] is not a string", k)
		}
		h.labels[string(k.Value.(ast.String))] = string(s)
		return nil
	})
}

func stringMember(o ast.Object, field string, p *string) error {
	t := o.Get(ast.StringTerm(field))
	if t == nil {
		return nil
	}
	switch v := t.Value.(type) {
	case ast.String:
		*p = string(v)
		return nil
	case ast.Null:
		return nil
	}
	return fmt.Errorf("%s is not a string", field)
}

func (h *header) isSecret() bool { return h.group == "" && h.kind == "Secret" }

// id names the object as policy/gate does: namespace/Kind.group/name.
func (h *header) id() string {
	id := h.kind
	if h.group != "" {
		id += "." + h.group
	}
	id += "/" + h.name
	if h.namespace != "" {
		id = h.namespace + "/" + id
	}
	return id
}

// A subject is an Input with the headers of its objects, new one first.
type subject struct {
	Input
	object, old string
	headers     []header
	namespace   *header // of the Namespace, if it is known
	unknown     Part
	predicates  *decodedPredicates
}

func newSubject(in Input, opts Options, intern map[string]*ast.Term) (*subject, error) {
	if in.Operation == "" {
		in.Operation = Create
	}
	switch in.Operation {
	case Create, Update:
		if len(in.Object) == 0 {
			return nil, fmt.Errorf("%s without an object", in.Operation)
		}
	case Delete:
		if len(in.OldObject) == 0 || len(in.Object) != 0 {
			return nil, errors.New("DELETE wants the old object and no new one")
		}
	default:
		return nil, fmt.Errorf("operation %q is unknown", clip(string(in.Operation), 64))
	}
	s := &subject{Input: in, object: string(in.Object), old: string(in.OldObject), unknown: in.findUnknown()}
	for _, src := range []string{s.object, s.old} {
		if src == "" {
			continue
		}
		if len(src) > opts.MaxObjectBytes {
			return nil, errors.New(tooMany("bytes", len(src), opts.MaxObjectBytes))
		}
		h, err := readHeader(src, intern)
		if err != nil {
			return nil, err
		}
		s.headers = append(s.headers, h)
	}
	if s.ObjectID == "" {
		s.ObjectID = s.headers[0].id()
	}
	return s, s.inheritNamespace(opts, intern)
}

// inheritNamespace takes the namespace of objects that do not say theirs from
// the Namespace that the caller gave.
func (s *subject) inheritNamespace(opts Options, intern map[string]*ast.Term) error {
	if s.Namespace == nil {
		return nil
	}
	if len(s.Namespace) > opts.MaxObjectBytes {
		return errors.New("the namespace: " + tooMany("bytes", len(s.Namespace), opts.MaxObjectBytes))
	}
	ns, err := readHeader(string(s.Namespace), intern)
	if err != nil {
		return fmt.Errorf("the namespace: %w", err)
	}
	s.namespace = &ns
	for i := range s.headers {
		if s.headers[i].namespace == "" {
			s.headers[i].namespace = ns.name
		}
	}
	return nil
}

// document builds the parts of input that are read, without the parameters.
func (s *subject) document(keep *readPaths, intern map[string]*ast.Term) ([][2]*ast.Term, error) {
	items := make([][2]*ast.Term, 0, 12)
	add := func(key string, t *ast.Term) {
		if t != nil && keep.key(key) != nil {
			items = append(items, [2]*ast.Term{ast.InternedTerm(key), t})
		}
	}
	for _, doc := range []struct{ key, src string }{
		{"object", s.object}, {"oldObject", s.old}, {"namespace", string(s.Namespace)},
	} {
		if doc.src == "" {
			continue
		}
		d := decoder{src: doc.src, intern: intern, secret: doc.key != "namespace" && s.anySecret()}
		below := keep.key(doc.key)
		if below == nil {
			below = &readPaths{} // checked all the same
		}
		t, err := d.decodeObject(below)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", doc.key, err)
		}
		add(doc.key, t)
	}
	if below := keep.key("images"); below != nil {
		images, err := s.imagesTerm(below, intern)
		if err != nil {
			return nil, err
		}
		add("images", images)
	}
	for _, part := range []struct {
		key  string
		term func() *ast.Term
	}{
		{"operation", func() *ast.Term { return ast.StringTerm(string(s.Operation)) }},
		{"userInfo", s.User.term}, {"commit", func() *ast.Term { return s.Commit.term(keep.key("commit")) }}, {"source", s.sourceTerm}, {"time", s.timeTerm},
		{knownKey, func() *ast.Term { return knownTerm(s.unknown) }}, {inventoryKey, s.Inventory.term}, {fileKey, s.fileTerm},
	} {
		if keep.key(part.key) != nil {
			add(part.key, part.term())
		}
	}
	return items, nil
}

func (s *subject) sourceTerm() *ast.Term {
	if s.File == "" {
		return nil
	}
	return objectTerm("file", ast.StringTerm(s.File), "line", ast.InternedTerm(s.Line))
}

// fileTerm is data.conftest.file.
func (s *subject) fileTerm() *ast.Term {
	if s.File == "" {
		return nil
	}
	dir, name := path.Split(s.File)
	return objectTerm("name", ast.StringTerm(name), "dir", ast.StringTerm(path.Clean(dir)))
}

func (s *subject) anySecret() bool {
	for i := range s.headers {
		if s.headers[i].isSecret() {
			return true
		}
	}
	return false
}

func (u *UserInfo) term() *ast.Term {
	if u == nil {
		return nil
	}
	extra := ast.NewObject()
	for k, v := range u.Extra {
		extra.Insert(ast.StringTerm(k), stringsTerm(v))
	}
	return objectTerm("username", ast.StringTerm(u.Username), "uid", ast.StringTerm(u.UID),
		"groups", stringsTerm(u.Groups), "extra", ast.NewTerm(extra))
}

// term is input.commit. Its paths are there only for who reads them: they are as many as
// the objects of a release, and each of those has a term of its own.
func (c *Commit) term(keep *readPaths) *ast.Term {
	if c == nil {
		return nil
	}
	parts := []any{"sha", ast.StringTerm(c.SHA), "author", ast.StringTerm(c.Author),
		"message", ast.StringTerm(c.Message), "signers", stringsTerm(c.Signers)}
	if keep.key("paths") != nil {
		parts = append(parts, "paths", stringsTerm(c.Paths))
	}
	return objectTerm(parts...)
}

func stringsTerm(list []string) *ast.Term {
	terms := make([]*ast.Term, len(list))
	for i, s := range list {
		terms[i] = ast.StringTerm(s)
	}
	return ast.ArrayTerm(terms...)
}

// objectTerm takes keys and terms in turn.
func objectTerm(kv ...any) *ast.Term {
	items := make([][2]*ast.Term, 0, len(kv)/2)
	for i := 0; i < len(kv); i += 2 {
		items = append(items, [2]*ast.Term{ast.InternedTerm(kv[i].(string)), kv[i+1].(*ast.Term)})
	}
	return ast.ObjectTerm(items...)
}
