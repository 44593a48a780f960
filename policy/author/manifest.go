package author

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/cover"
	"go.yaml.in/yaml/v3"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/verdict"
)

// The kind of manifests with expected findings.
const (
	TestAPIVersion = testGroup + "v1alpha1"
	TestKind       = "PolicyTest"

	testGroup = "test.gitgate.dev/"
)

// A PolicyTest says what policies have to find in objects. Every finding must be
// expected, and every expectation met.
type PolicyTest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		// Name appears in reports. It is required.
		Name string `json:"name"`
	} `json:"metadata"`
	// Policy is a directory of policies, from the directory of the manifest; Pack is
	// one of the library. One of them is required.
	Policy string `json:"policy"`
	Pack   string `json:"pack"`
	// Format and RegoVersion are those of a PolicySet.
	Format      policy.Format      `json:"format"`
	RegoVersion policy.RegoVersion `json:"regoVersion"`
	// Parameters are input.parameters.
	Parameters map[string]any `json:"parameters"`
	// Cases are required.
	Cases []Case `json:"cases"`
}

// A Case is one object, what is known about the change, and what has to be found.
type Case struct {
	Name string `json:"name"`
	// Object, OldObject and Namespace are objects, or paths of files with one each,
	// from the directory of the manifest.
	Object    objectRef        `json:"object"`
	OldObject objectRef        `json:"oldObject"`
	Namespace objectRef        `json:"namespace"`
	Operation policy.Operation `json:"operation"`
	User      *struct {
		Username string              `json:"username"`
		UID      string              `json:"uid"`
		Groups   []string            `json:"groups"`
		Extra    map[string][]string `json:"extra"`
	} `json:"userInfo"`
	Commit *struct {
		SHA     string   `json:"sha"`
		Author  string   `json:"author"`
		Message string   `json:"message"`
		Signers []string `json:"signers"`
		Paths   []string `json:"paths"`
	} `json:"commit"`
	Images []struct {
		Ref         string   `json:"ref"`
		Digest      string   `json:"digest"`
		Authorities []string `json:"authorities"`
		// Attestations are not known where they are left out.
		Attestations []struct {
			Name          string          `json:"name"`
			PredicateType string          `json:"predicateType"`
			Authority     string          `json:"authority"`
			Predicate     json.RawMessage `json:"predicate"`
		} `json:"attestations"`
	} `json:"images"`
	// Time is when the decision is made.
	Time   time.Time `json:"time"`
	Source struct {
		File string `json:"file"`
		Line int    `json:"line"`
	} `json:"source"`
	// Inventory are the objects of data.inventory.
	Inventory []objectRef `json:"inventory"`
	// None are parts of which it is known that there is none: oldObject, namespace,
	// userInfo, commit, images, attestations, source, time or inventory. A rule that reads a part that is
	// neither given nor listed here is undetermined.
	None []string `json:"none"`
	// Parameters take the place of those of the test.
	Parameters map[string]any `json:"parameters"`
	// Expect is required: a case that expects nothing says so.
	Expect *Expected `json:"expect"`
}

// Expected are findings. In YAML it is a list, or the word none.
type Expected []Expectation

// UnmarshalJSON implements [json.Unmarshaler].
func (e *Expected) UnmarshalJSON(raw []byte) error {
	if string(raw) == `"none"` {
		*e = Expected{}
		return nil
	}
	var list []Expectation
	if err := strict(raw, &list); err != nil {
		return fmt.Errorf("expect is none, or a list of findings: %w", err)
	}
	*e = append(Expected{}, list...)
	return nil
}

// strict decodes JSON without fields that nobody knows.
func strict(raw []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	dec.UseNumber()
	return dec.Decode(into)
}

// An objectRef is an object, or the path of a file that holds one.
type objectRef struct {
	file string
	json []byte
}

// UnmarshalJSON implements [json.Unmarshaler].
func (o *objectRef) UnmarshalJSON(raw []byte) error {
	switch {
	case string(raw) == "null":
		return nil
	case raw[0] == '"':
		return json.Unmarshal(raw, &o.file)
	case raw[0] == '{':
		o.json = bytes.Clone(raw)
		return nil
	}
	return errors.New("an object is an object, or the path of a file that holds one")
}

// resolve returns the JSON of the object, nil where there is none.
func (o objectRef) resolve(s Source, dir string) ([]byte, error) {
	if o.file == "" {
		return o.json, nil
	}
	file, err := within(dir, o.file)
	if err != nil {
		return nil, err
	}
	raw, err := s.read(file)
	if err != nil {
		return nil, err
	}
	found, problems := ReadManifests(s.show(file), raw)
	if len(problems) > 0 {
		return nil, fmt.Errorf("%s: %s", problems[0].Where(), problems[0].Message)
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%s holds %d objects, and one is wanted", s.show(file), len(found))
	}
	return found[0].JSON, nil
}

// within resolves a path against a directory in the file system of a source.
func within(dir, name string) (string, error) {
	file := path.Join(dir, name)
	if path.IsAbs(name) || file == ".." || strings.HasPrefix(file, "../") {
		return "", fmt.Errorf("%s leads out of what is tested: run the test from a directory that holds both", name)
	}
	return file, nil
}

// What every manifest of a test, and every suite of Gatekeeper, holds.
var manifestMark, suiteMark = []byte(testGroup), []byte(suiteGroup)

// runManifests runs the manifests of a source.
func (s Source) runManifests(ctx context.Context, o Options, reached *cover.Cover) ([]Result, error) {
	files, err := s.files(".yaml", ".yml", ".json")
	if err != nil {
		return nil, err
	}
	var out []Result
	total := 0
	for _, file := range files {
		raw, err := s.read(file)
		if err != nil {
			return nil, err
		}
		if total += len(raw); total > maxTotalBytes {
			return nil, fmt.Errorf("%s: more than %d MiB of YAML and JSON: name the directory with the tests", s.show(s.root()), maxTotalBytes>>20)
		}
		results, err := s.runFile(ctx, file, raw, o, reached)
		if err != nil {
			return nil, err
		}
		out = append(out, results...)
	}
	return out, nil
}

func (s Source) runFile(ctx context.Context, file string, raw []byte, o Options, reached *cover.Cover) ([]Result, error) {
	if !bytes.Contains(raw, manifestMark) && !bytes.Contains(raw, suiteMark) {
		if name := path.Base(file); strings.HasSuffix(name, ".test.yaml") || strings.HasSuffix(name, ".test.yml") {
			return nil, fmt.Errorf("%s: a file of this name is a test: give it apiVersion %s and kind %s", s.show(file), TestAPIVersion, TestKind)
		}
		return nil, nil
	}
	docs, err := converter{words: bytes.Contains(raw, suiteMark)}.documents(raw)
	if err != nil {
		return nil, s.at(file, err)
	}
	var out []Result
	for _, doc := range docs {
		object, _ := doc.value.(map[string]any)
		version, _ := object["apiVersion"].(string)
		var results []Result
		switch {
		case strings.HasPrefix(version, testGroup):
			results, err = s.runDocument(ctx, file, doc, o, reached)
		case strings.HasPrefix(version, suiteGroup):
			results, err = s.runSuite(ctx, file, doc, o)
		}
		if err != nil {
			return nil, s.at(file, err)
		}
		out = append(out, results...)
	}
	return out, nil
}

// at puts the place before an error.
func (s Source) at(file string, err error) error {
	var se *SyntaxError
	if errors.As(err, &se) && se.Line > 0 {
		return fmt.Errorf("%s:%d: %w", s.show(file), se.Line, err)
	}
	return fmt.Errorf("%s: %w", s.show(file), err)
}

// decodeTest reads a document into a PolicyTest.
func decodeTest(doc document) (*PolicyTest, error) {
	raw, err := json.Marshal(doc.value)
	if err != nil {
		return nil, invalid(doc.node, "the document has no JSON form: %v", err)
	}
	var t PolicyTest
	if err := strict(raw, &t); err != nil {
		return nil, invalid(doc.node, "%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	switch {
	case t.APIVersion != TestAPIVersion || t.Kind != TestKind:
		return nil, invalid(doc.node, "%s %s is unknown: use apiVersion %s and kind %s", t.APIVersion, t.Kind, TestAPIVersion, TestKind)
	case t.Metadata.Name == "":
		return nil, invalid(doc.node, "metadata.name is missing")
	case (t.Policy == "") == (t.Pack == ""):
		return nil, invalid(doc.node, "name either a policy, which is a directory, or a pack")
	case len(t.Cases) == 0:
		return nil, invalid(doc.node, "the test has no cases")
	}
	names := map[string]bool{}
	for i, c := range t.Cases {
		at := caseNode(doc.node, i)
		switch {
		case c.Name == "":
			return nil, invalid(at, "cases[%d] has no name", i)
		case names[c.Name]:
			return nil, invalid(at, "two cases are named %q: rename one", c.Name)
		case c.Expect == nil:
			return nil, invalid(at, "case %q does not say what it expects: write expect: none if nothing should be found", c.Name)
		}
		names[c.Name] = true
		for j, e := range *c.Expect {
			if err := e.check(); err != nil {
				return nil, invalid(at, "case %q: expect[%d]: %v", c.Name, j, err)
			}
		}
	}
	return &t, nil
}

func caseNode(root *yaml.Node, i int) *yaml.Node {
	if list := items(root, "cases"); i < len(list) {
		return list[i]
	}
	return root
}

// input is what the engine is asked.
func (c *Case) input(s Source, dir string) (policy.Input, error) {
	in := policy.Input{Operation: c.Operation, File: c.Source.File, Line: c.Source.Line, Time: c.Time}
	for _, o := range []struct {
		from objectRef
		to   *[]byte
	}{{c.Object, &in.Object}, {c.OldObject, &in.OldObject}, {c.Namespace, &in.Namespace}} {
		raw, err := o.from.resolve(s, dir)
		if err != nil {
			return in, err
		}
		*o.to = raw
	}
	if in.Operation == policy.Delete && in.OldObject == nil {
		in.Object, in.OldObject = nil, in.Object // what is deleted is the old one
	}
	if len(in.Object)+len(in.OldObject) == 0 {
		return in, errors.New("object is missing")
	}
	if u := c.User; u != nil {
		in.User = &policy.UserInfo{Username: u.Username, UID: u.UID, Groups: u.Groups, Extra: u.Extra}
	}
	if m := c.Commit; m != nil {
		in.Commit = &policy.Commit{SHA: m.SHA, Author: m.Author, Message: m.Message, Signers: m.Signers, Paths: m.Paths}
	}
	if c.Images != nil { // an empty list is known to be empty
		in.Images = []policy.Image{}
	}
	for _, i := range c.Images {
		image := policy.Image{Ref: i.Ref, Digest: i.Digest, Authorities: i.Authorities}
		if i.Attestations != nil {
			image.Attestations = []policy.Attestation{}
		}
		for _, a := range i.Attestations {
			one := policy.Attestation{Name: a.Name, PredicateType: a.PredicateType, Authority: a.Authority}
			if a.Predicate != nil {
				one.Predicate = func() ([]byte, error) { return a.Predicate, nil }
			}
			image.Attestations = append(image.Attestations, one)
		}
		in.Images = append(in.Images, image)
	}
	return in, c.context(s, dir, &in)
}

// parts are what a case may know to be absent.
var parts = map[string]policy.Part{
	"oldObject": policy.PartOldObject, "namespace": policy.PartNamespace, "userInfo": policy.PartUserInfo, "commit": policy.PartCommit,
	"images": policy.PartImages, "source": policy.PartSource, "inventory": policy.PartInventory,
	"attestations": policy.PartAttestations, "time": policy.PartTime,
}

// context adds the inventory, and what is known to be absent.
func (c *Case) context(s Source, dir string, in *policy.Input) error {
	for _, name := range c.None {
		part, ok := parts[name]
		if !ok {
			return fmt.Errorf("none: there is no part %q: use one of %s", name, strings.Join(slices.Sorted(maps.Keys(parts)), ", "))
		}
		in.None |= part
	}
	if c.Inventory == nil {
		return nil
	}
	var objects [][]byte
	for _, o := range c.Inventory {
		raw, err := o.resolve(s, dir)
		if err != nil {
			return err
		}
		objects = append(objects, raw)
	}
	var err error
	in.Inventory, err = policy.NewInventory(objects)
	return err
}

// ruleOf is the rule of a finding, without the name of the set.
func ruleOf(f verdict.Finding) string {
	_, rule, ok := strings.Cut(f.Policy, "/")
	if !ok {
		return ""
	}
	return rule
}
