package policy

import (
	"math/bits"
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// A Part is a part of the input beside the object that is judged. Not every caller
// knows every part: there is no user behind a commit, and no commit behind what
// somebody writes past Git. A rule that comes to read a part that is not known is
// undetermined.
type Part uint16

// The parts. See [Input] for what they are.
const (
	PartOldObject Part = 1 << iota
	PartNamespace
	PartUserInfo
	PartCommit
	PartImages
	PartSource
	PartInventory
	// PartAttestations are those of the images.
	PartAttestations
	// PartTime is when the decision is made.
	PartTime
	// partPredicates are what attestations state: they may be too large to be at hand.
	partPredicates
	// partRequest is the rest of an admission request, which no caller hands on.
	partRequest

	allParts = partRequest<<1 - 1
)

// partNames are the parts by the name that they have in input.known.
var partNames = map[Part]string{
	PartOldObject: "oldObject", PartNamespace: "namespace", PartUserInfo: "userInfo", PartCommit: "commit",
	PartImages: "images", PartSource: "source", PartInventory: "inventory",
	PartAttestations: "attestations", PartTime: "time",
}

// knownKey is input.known, where rules ask what is known.
const knownKey = "known"

// inventoryKey is where data.inventory is in the input: it is made for each
// evaluation, as the input is. See rewrite.go.
const inventoryKey = "_inventory"

// fileKey is where data.conftest.file is in the input.
const fileKey = "_file"

// A partPath says where rules find a part.
type partPath struct {
	part Part
	keys []string // below input
	name string   // as rules write it
}

func pathOf(part Part, name string) partPath {
	return partPath{part, strings.Split(strings.TrimPrefix(name, "input."), "."), name}
}

// rest is a field of an admission request that nobody hands on.
func rest(key string) partPath {
	return partPath{partRequest, []string{"review", key}, "more of input.review than gitgate has"}
}

var inventoryPath = partPath{PartInventory, []string{inventoryKey}, "data.inventory"}

// partPaths are where the rules of each format find the parts.
var partPaths = map[Format][]partPath{
	FormatGitgate: {
		pathOf(PartOldObject, "input.oldObject"), pathOf(PartNamespace, "input.namespace"),
		pathOf(PartUserInfo, "input.userInfo"), pathOf(PartCommit, "input.commit"),
		pathOf(PartImages, "input.images"), pathOf(PartSource, "input.source"), inventoryPath,
		attestationPath, predicatePath, pathOf(PartTime, "input.time"),
	},
	FormatConftest: {{PartSource, []string{fileKey}, "data.conftest.file"}, inventoryPath},
	FormatGatekeeper: {
		pathOf(PartOldObject, "input.review.oldObject"), pathOf(PartNamespace, "input.review.namespaceObject"),
		{PartNamespace, []string{"review", "_unstable"}, "input.review.namespaceObject"},
		pathOf(PartUserInfo, "input.review.userInfo"), inventoryPath,
		rest("uid"), rest("dryRun"), rest("options"), rest("resource"), rest("subResource"),
		rest("requestKind"), rest("requestResource"), rest("requestSubResource"),
	},
}

// findUnknown is what the caller neither gave nor said that there is none of.
func (in *Input) findUnknown() Part {
	known := in.None &^ (partRequest | partPredicates)
	give := func(part Part, given bool) {
		if given {
			known |= part
		}
	}
	give(PartOldObject, len(in.OldObject) > 0 || in.Operation == Create) // which replaces nothing
	give(PartNamespace, in.Namespace != nil)
	give(PartUserInfo, in.User != nil)
	give(PartCommit, in.Commit != nil)
	give(PartImages, in.Images != nil)
	give(PartSource, in.File != "")
	give(PartInventory, in.Inventory != nil)
	give(PartAttestations, in.attested())
	give(partPredicates, known&PartAttestations != 0) // until one cannot be had
	give(PartTime, !in.Time.IsZero())
	return allParts &^ known
}

// knownTerm is input.known.
func knownTerm(unknown Part) *ast.Term {
	kv := make([]any, 0, 2*len(partNames))
	for part, name := range partNames {
		kv = append(kv, name, ast.InternedTerm(part&unknown == 0))
	}
	return objectTerm(kv...)
}

// partsOf lists the parts that are read, but for those about which input.known is
// asked: whoever asks takes care of himself.
func (p *readPaths) partsOf(format Format) Part {
	parts := p.touched(format)
	for part := range partNames {
		if format == FormatGitgate && p.asksFor(part) {
			parts &^= part
		}
	}
	if parts&PartAttestations == 0 { // asked for, or not read at all
		parts &^= partPredicates
	}
	return parts
}

// touched lists the parts that are read.
func (p *readPaths) touched(format Format) Part {
	var parts Part
	for _, at := range partPaths[format] {
		below := p
		for _, key := range at.keys {
			below = below.key(key)
		}
		if below != nil {
			parts |= at.part
		}
	}
	return parts
}

// asksFor reports whether input.known.<part> is read, and by that very name.
func (p *readPaths) asksFor(part Part) bool {
	if p.all || p.keys[knownKey] == nil {
		return false
	}
	asked := p.keys[knownKey]
	return asked.keys[partNames[part]] != nil
}

// A ruleBody is one of the rules of an entry, to be asked on its own.
type ruleBody struct {
	context Part
	query   ast.Body
}

// A needs is what an entry may read without asking whether it is known. Where several
// rules make the entry, and not all read the same parts, each can be asked on its own:
// one that cannot be decided does not silence the others.
type needs struct {
	parts  Part
	bodies []ruleBody
}

// unknown is what an entry of a set may read of what is not known.
func (e *entry) unknown(s *set, unknown Part) Part {
	if s.context&unknown == 0 {
		return 0
	}
	return e.needs().parts & unknown
}

// Bounds of the analysis of who reads which part. Beyond them a rule counts as
// reading all that its set reads.
const (
	maxContextEntries = 2000
	maxBodies         = 64
)

// findNeeds has each entry find out which parts it may read when that is asked first:
// mostly it is asked of few, or of none.
func (s *set) findNeeds(all *readPaths, rules []*ast.Rule, depends func() *dependencies) {
	s.context = all.touched(s.format)
	mentions := sync.OnceValue(func() map[*ast.Rule]bool {
		out := make(map[*ast.Rule]bool, len(rules))
		for i, some := range sideBySide(rules, s.mention) {
			out[rules[i]] = some
		}
		return out
	})
	var compiling sync.Mutex // one query of the set at a time
	for _, e := range s.entries {
		e.needs = sync.OnceValue(func() needs {
			if len(s.entries) > maxContextEntries {
				return needs{parts: s.context}
			}
			return s.needsOf(e, depends(), mentions(), &compiling)
		})
	}
}

// needsOf finds out which parts an entry may read; mentions are the rules that name
// some.
func (s *set) needsOf(e *entry, depends *dependencies, mentions map[*ast.Rule]bool, compiling *sync.Mutex) needs {
	g := depends.groups[e.ref.String()]
	if g == nil {
		return needs{parts: s.context}
	}
	rules := depends.reachable(g)
	if !slices.ContainsFunc(rules, func(rule *ast.Rule) bool { return mentions[rule] }) {
		return needs{} // which is quicker to see, and never too little
	}
	c := needs{parts: collectReads(rules).partsOf(s.format)}
	if c.parts == 0 || g.shape != elements || len(g.rules) == 1 || len(g.rules) > maxBodies {
		return c
	}
	for _, rule := range g.rules {
		compiling.Lock()
		query, err := s.bodyQuery(rule)
		compiling.Unlock()
		if err != nil { // a rule compiles, so that its body does; together they can always be asked
			return needs{parts: c.parts}
		}
		one := &group{path: g.path, rules: []*ast.Rule{rule}, shape: g.shape}
		c.bodies = append(c.bodies, ruleBody{collectReads(depends.reachable(one)).partsOf(s.format), query})
	}
	return c
}

// mention reports whether a rule names a part of the input beside the object.
func (s *set) mention(rule *ast.Rule) bool {
	return mentionedReads([]*ast.Rule{rule}).touched(s.format) != 0
}

// bodyQuery binds r0 to the results of one rule of a set.
func (s *set) bodyQuery(rule *ast.Rule) (ast.Body, error) {
	results := ast.SetComprehensionTerm(rule.Head.Key.Copy(), rule.Body.Copy())
	return s.compiler.QueryCompiler().Compile(ast.NewBody(ast.Equality.Expr(ast.NewTerm(resultVar(0)), results)))
}

// names lists the parts as the rules of a format write them.
func (parts Part) names(format Format) string {
	names := make([]string, 0, bits.OnesCount16(uint16(parts)))
	if parts&PartImages != 0 { // they bring the others along
		parts &^= PartAttestations | partPredicates
	}
	if parts&PartAttestations != 0 {
		parts &^= partPredicates
	}
	for _, at := range partPaths[format] {
		if at.part&parts != 0 && (len(names) == 0 || names[len(names)-1] != at.name) {
			names = append(names, at.name)
		}
	}
	return strings.Join(names, " and ")
}
