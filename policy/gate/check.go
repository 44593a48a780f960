package gate

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/verify/image"
)

// A Write is a change of one object that no commit brings, as the admission
// webhook sees it.
type Write struct {
	// Operation is CREATE, UPDATE or DELETE.
	Operation string
	// Group and Kind of the object.
	Group, Kind string
	// ID names the object, as [ObjectID] does.
	ID string
	// Object and OldObject are JSON; nil where there is none.
	Object, OldObject []byte
	// User is who asks.
	User *User
	// ClusterScoped says that the object is in no namespace.
	ClusterScoped bool
	// Namespace is that of the object; empty where it is in none.
	Namespace string
}

// A Checker judges writes by the rules and images by what releases verified. It is
// the gate without a commit: the same engine gets the same input and gives the
// same text. It is safe for concurrent use.
type Checker struct {
	// Policies judge every write; nil is no rules.
	Policies PolicyEvaluator
	// Secrets masks. Mandatory.
	Secrets SecretKeeper
	// Runs says what is wrong with running an image; nil lets all of them run. The
	// finding needs neither object nor field.
	Runs func(ref string) *verdict.Finding
	// Images tells what releases that may write there have proven of an image, which
	// is nothing of most. No registry is asked. Nil knows nothing of any image.
	Images func(namespace, ref string) []image.Evidence
	// Now is the time of a decision, that rules see. Nil means time.Now.
	Now func() time.Time
}

// Check returns what the rules find. Failing to decide is a finding that denies.
func (c Checker) Check(ctx context.Context, w Write) (fs []verdict.Finding) {
	fail := func(what string) []verdict.Finding {
		return []verdict.Finding{{
			Stage: verdict.StagePolicy, Reason: verdict.PolicyError, Severity: verdict.Deny, Object: w.ID,
			Message: "the object could not be judged: " + what,
		}}
	}
	defer func() {
		if p := recover(); p != nil {
			fs = fail(fmt.Sprintf("internal error (%s)", panicSite(p)))
		}
	}()
	leaves, faults, err := c.leaves(w)
	if err != nil {
		return fail(err.Error())
	}
	images := c.runs(w, leaves, faults)
	if c.Policies == nil {
		return images
	}
	in := PolicyInput{Operation: w.Operation, ID: w.ID, User: w.User, ClusterScoped: w.ClusterScoped, Time: c.now()}
	if len(faults) == 0 {
		in.Images = c.proven(w, leaves)
	}
	if in.Object, err = c.masked(w, w.Object); err != nil {
		return fail(err.Error())
	}
	if in.OldObject, err = c.masked(w, w.OldObject); err != nil {
		return fail(err.Error())
	}
	return append(images, c.Policies.Evaluate(ctx, in)...)
}

// leaves finds the images of what is written, if the kind is one that runs any and
// somebody wants to know.
func (c Checker) leaves(w Write) ([]imageLeaf, []verdict.Finding, error) {
	if _, runs := podSpecPaths[w.Group+"/"+w.Kind]; !runs || w.Object == nil || c.Runs == nil && c.Images == nil {
		return nil, nil, nil
	}
	u, err := decoded(w.Object)
	if err != nil {
		return nil, nil, err
	}
	leaves, faults := extractors{}.images(Object{Unstructured: u})
	return leaves, faults, nil
}

// runs says which images may not run, and what is wrong with fields that hold some.
func (c Checker) runs(w Write, leaves []imageLeaf, out []verdict.Finding) []verdict.Finding {
	if c.Runs == nil {
		return nil
	}
	for _, l := range leaves {
		if f := c.Runs(l.ref); f != nil {
			f.Stage, f.Object, f.Field, f.Image = verdict.StageImage, w.ID, l.field(), clip(l.ref)
			out = append(out, *f)
		}
	}
	return out
}

// proven is what releases have proven of the images, each image once; nil unless
// something is known of every image: from the gate, rules get no less either. Where a
// kind of others holds images, nobody here knows.
func (c Checker) proven(w Write, leaves []imageLeaf) []image.Evidence {
	if c.Images == nil || w.Object == nil || !builtinGroup(w.Group) {
		return nil
	}
	out := []image.Evidence{}
	seen := map[string]bool{}
	for _, l := range leaves {
		if seen[l.ref] {
			continue
		}
		seen[l.ref] = true
		evidence := c.Images(w.Namespace, l.ref)
		if len(evidence) == 0 {
			return nil
		}
		out = append(out, evidence...)
	}
	return out
}

func (c Checker) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// masked is the object as rules see it. What is no Secret and holds no ciphertext
// goes through as it came.
func (c Checker) masked(w Write, raw []byte) ([]byte, error) {
	secret := w.Group == "" && w.Kind == "Secret"
	if raw == nil || !secret && !bytes.Contains(raw, []byte(`"sops"`)) {
		return raw, nil
	}
	u, err := decoded(raw)
	if err != nil {
		return nil, err
	}
	if _, sops := u.Object["sops"]; !sops && !secret {
		return raw, nil
	}
	return utiljson.Marshal(c.Secrets.Masked(u.Object))
}

func decoded(raw []byte) (*unstructured.Unstructured, error) {
	var content map[string]any
	if err := utiljson.Unmarshal(raw, &content); err != nil || content == nil {
		return nil, fmt.Errorf("it is no JSON object") // the text of err quotes the input
	}
	return &unstructured.Unstructured{Object: content}, nil
}
