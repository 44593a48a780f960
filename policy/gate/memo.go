package gate

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/verify/image"
)

// A memo keeps what the gate found out about the objects of the last revision it
// judged. Objects are known by their pointer, which stands for their content: see
// [Renderer]. It holds no plaintext.
type memo struct {
	byPointer map[*unstructured.Unstructured]*judged
}

func newMemo() *memo { return &memo{byPointer: map[*unstructured.Unstructured]*judged{}} }

// judged is what the gate knows of one rendered object.
type judged struct {
	rendered Object

	// leaves are the images of the object; nil until looked for.
	leaves     []imageLeaf
	leafFaults []verdict.Finding
	extracted  bool

	// pinned is the object with its images pinned, when every image is proven.
	pinned   *unstructured.Unstructured
	evidence []image.Evidence

	// policy holds the findings of the rules over pinned.
	policy       []verdict.Finding
	policyJudged bool
}

// next returns what is known of each object, in order, and forgets all others.
func (m *memo) next(objects []Object) []*judged {
	kept := make(map[*unstructured.Unstructured]*judged, len(objects))
	out := make([]*judged, len(objects))
	for i, o := range objects {
		j := m.byPointer[o.Unstructured]
		if j == nil || !j.rendered.Source.same(o.Source) {
			j = &judged{rendered: o}
		}
		j.rendered.Source = o.Source // the file around an object may be another one now
		kept[o.Unstructured], out[i] = j, j
	}
	m.byPointer = kept
	return out
}

// same reports whether two sources would read the same in a finding.
func (s Source) same(t Source) bool {
	return s.File == t.File && s.Line == t.Line && s.Document == t.Document
}
