package render

import (
	"cmp"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Options say what to render and how much of it is bearable.
type Options struct {
	// Path is the directory to render, slash-separated from the root of the
	// tree. Empty and "." mean the root; a leading "./" or "/" is ignored, as
	// Flux does.
	Path string
	// TargetNamespace overrides the namespace of every namespaced object, and of
	// the role binding subjects that follow them. Empty leaves them alone.
	TargetNamespace string
	// RestrictNamespace, when set, confines the tree to this namespace: an object
	// that is cluster-scoped or names another namespace is a ScopeViolation, even
	// if TargetNamespace would move it. An object without a namespace gets
	// TargetNamespace or else this one.
	RestrictNamespace string
	// DefaultNamespace is that of namespaced objects which name none, where neither
	// TargetNamespace nor RestrictNamespace says more. Empty leaves them without.
	DefaultNamespace string
	// Scope says whether kinds are namespaced that are neither built in nor
	// defined by a CustomResourceDefinition in the tree. A kind that stays unknown
	// counts as namespaced: the API server refuses that for the others.
	Scope ScopeFunc
	// Limits bound the work. The zero value means the defaults.
	Limits Limits
	// Cache keeps what was parsed and built for the next call. Nil keeps nothing.
	Cache *Cache
}

// A ScopeFunc reports whether objects of a kind live in a namespace, and whether
// it knows the kind at all.
type ScopeFunc func(schema.GroupVersionKind) (namespaced, known bool)

// MaxObjects is how many objects are rendered at most where no limit is given.
const MaxObjects = 20_000

// Limits bound what one call of [Render] may read and make. A field that is zero
// has the default named at it.
type Limits struct {
	// FileBytes is the largest file that is read: 4 MiB.
	FileBytes int
	// TotalBytes is the sum of all files: 128 MiB.
	TotalBytes int
	// Files counts files read, and entries of directories walked: 50,000.
	Files int
	// Objects counts rendered objects: [MaxObjects].
	Objects int
	// Depth is how deep a document nests: 200.
	Depth int
	// Nodes counts the values of one document, aliases expanded: 500,000.
	Nodes int
	// Builds counts the directories that a kustomization includes, directly or
	// not, each as often as it is included: 1,000.
	Builds int
	// Findings is how many findings are reported: 100.
	Findings int
}

func (l Limits) withDefaults() Limits {
	return Limits{
		FileBytes:  cmp.Or(l.FileBytes, 4<<20),
		TotalBytes: cmp.Or(l.TotalBytes, 128<<20),
		Files:      cmp.Or(l.Files, 50_000),
		Objects:    cmp.Or(l.Objects, MaxObjects),
		Depth:      cmp.Or(l.Depth, 200),
		Nodes:      cmp.Or(l.Nodes, 500_000),
		Builds:     cmp.Or(l.Builds, 1_000),
		Findings:   cmp.Or(l.Findings, 100),
	}
}
