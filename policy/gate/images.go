package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/verify/image"
)

// images proves every image of every object, each reference once, and pins it.
func (a *admission) images(ctx context.Context) bool {
	a.begin(verdict.StageImage)
	var findings []verdict.Finding
	wanted := map[string]bool{}
	for _, j := range a.judged {
		if !j.extracted {
			j.leaves, j.leafFaults = a.gate.extractors.images(j.rendered)
			j.extracted = true
		}
		findings = append(findings, j.leafFaults...)
		if !j.policyJudged && lost(j.evidence) {
			j.pinned, j.evidence = nil, nil
		}
		if j.pinned == nil {
			for _, l := range j.leaves {
				wanted[l.ref] = true
			}
		}
	}
	for _, ref := range a.req.Elsewhere.Images {
		wanted[ref] = true
	}
	answers := a.proveAll(ctx, wanted)
	for _, ref := range a.req.Elsewhere.Images {
		if err := answers[ref].err; err != nil {
			findings = append(findings, imageFinding(imageLeaf{ref: ref}, err))
		}
	}
	for i, j := range a.judged {
		if j.pinned == nil {
			findings = append(findings, j.pin(answers)...)
		}
		if j.pinned != nil {
			a.objects[i].Unstructured = j.pinned
		}
	}
	return a.end(findings...)
}

// lost reports whether something that rules may ask for is no longer at hand.
func lost(evidence []image.Evidence) bool {
	return slices.ContainsFunc(evidence, func(e image.Evidence) bool { return !e.AtHand() })
}

// evidence gathers what was proven of the images of all objects, each once.
func (a *admission) evidence() []image.Evidence {
	seen := map[string]bool{}
	var out []image.Evidence
	for _, j := range a.judged {
		for _, e := range j.evidence {
			if id := e.Reference() + " " + e.Pinned(); !seen[id] {
				seen[id] = true
				out = append(out, e)
			}
		}
	}
	return out
}

type imageAnswer struct {
	evidence image.Evidence
	err      error
}

func (a *admission) proveAll(ctx context.Context, refs map[string]bool) map[string]imageAnswer {
	var mu sync.Mutex
	out := make(map[string]imageAnswer, len(refs))
	var group errgroup.Group // its goroutines never fail
	group.SetLimit(a.gate.cfg.Parallel)
	session := a.gate.cfg.Images.NewSession()
	for _, ref := range sortedKeys(refs) {
		group.Go(func() error {
			answer := prove(ctx, session, ref)
			mu.Lock()
			defer mu.Unlock()
			out[ref] = answer
			return nil
		})
	}
	_ = group.Wait() // the goroutines report through out
	return out
}

func prove(ctx context.Context, session *image.Session, ref string) (answer imageAnswer) {
	defer func() {
		if p := recover(); p != nil {
			answer = imageAnswer{err: fmt.Errorf("internal error (%s)", panicSite(p))}
		}
	}()
	evidence, err := session.Verify(ctx, ref)
	if err == nil && !evidence.Valid() {
		err = errors.New("the image stage gave neither evidence nor a reason")
	}
	return imageAnswer{evidence: evidence, err: err}
}

// pin replaces the images of the object by what was proven, or says what is
// missing.
func (j *judged) pin(answers map[string]imageAnswer) []verdict.Finding {
	if len(j.leafFaults) > 0 {
		return nil // reported already
	}
	if len(j.leaves) == 0 {
		j.pinned = j.rendered.Unstructured
		return nil
	}
	var findings []verdict.Finding
	var evidence []image.Evidence
	for _, l := range j.leaves {
		answer := answers[l.ref]
		if answer.err != nil {
			findings = append(findings, j.rendered.finding(imageFinding(l, answer.err)))
			continue
		}
		evidence = append(evidence, answer.evidence)
	}
	if len(findings) > 0 {
		return findings
	}
	pinned := j.rendered.Unstructured
	for i, l := range j.leaves {
		want := evidence[i].Pinned()
		if want == l.ref {
			continue
		}
		if pinned == j.rendered.Unstructured {
			pinned = j.rendered.DeepCopy()
		}
		setString(pinned.Object, l.path, want)
	}
	j.pinned, j.evidence = pinned, evidence
	return nil
}

func imageFinding(l imageLeaf, err error) verdict.Finding {
	f := verdict.Finding{
		Stage: verdict.StageImage, Reason: verdict.RegistryUnavailable, Severity: verdict.Undetermined,
		Field: l.field(), Image: clip(l.ref), Message: fmt.Sprintf("image %s could not be judged: %v", clip(l.ref), err),
	}
	var known *image.Error
	if errors.As(err, &known) {
		f.Reason, f.Message = verdict.Reason(known.Reason), known.Message
		if !known.Undetermined {
			f.Severity = verdict.Deny
		}
	}
	return f
}

// maxImage bounds an image reference in a finding; no registry takes a longer one.
const maxImage = 512

func clip(ref string) string {
	if len(ref) <= maxImage {
		return ref
	}
	return strings.ToValidUTF8(ref[:maxImage], "") + "…"
}

// setString sets the string at a path that exists.
func setString(v any, path []any, s string) {
	for _, p := range path[:len(path)-1] {
		switch key := p.(type) {
		case int:
			v = v.([]any)[key]
		case string:
			v = v.(map[string]any)[key]
		}
	}
	switch key := path[len(path)-1].(type) {
	case int:
		v.([]any)[key] = s
	case string:
		v.(map[string]any)[key] = s
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func unstructuredOf(content map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: content}
}
