package main

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/verify/image"
	"gitgate.dev/gitgate/webhook/lock"
)

// verifiedImages are the digests that releases verified, of all GitSyncs: of those in
// force, and of earlier ones whose Pods may still be replaced.
type verifiedImages struct {
	mu     sync.Mutex
	bySync map[types.NamespacedName]syncImages
	all    atomic.Pointer[map[imageDigest][]provenImage]
	system string // our own namespace, whose GitSyncs may write anywhere
	// exceptions are what the same releases except.
	exceptions admissionExceptions
}

// syncImages are those of one GitSync.
type syncImages struct{ inForce, retired []image.Evidence }

type imageDigest struct{ repository, digest string }

func (v *verifiedImages) accept(l reconcile.Locked) {
	inForce := slices.Clone(l.Current.Images)
	if l.Former != nil {
		inForce = append(inForce, l.Former.Images...)
	}
	v.change(types.NamespacedName{Namespace: l.Sync.Namespace, Name: l.Sync.Name}, func(s *syncImages) { s.inForce = inForce })
}

func (v *verifiedImages) retire(name types.NamespacedName, images []image.Evidence) {
	v.change(name, func(s *syncImages) { s.retired = images })
}

func (v *verifiedImages) drop(name types.NamespacedName) {
	v.change(name, func(s *syncImages) { *s = syncImages{} })
	v.exceptions.drop(name)
}

func (v *verifiedImages) change(name types.NamespacedName, change func(*syncImages)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.bySync == nil {
		v.bySync = map[types.NamespacedName]syncImages{}
	}
	mine := v.bySync[name]
	change(&mine)
	v.bySync[name] = mine
	if len(mine.inForce)+len(mine.retired) == 0 {
		delete(v.bySync, name)
	}
	all := v.collect()
	v.all.Store(&all)
}

// runs says what is wrong with running a reference. No registry is asked.
func (v *verifiedImages) runs(ref string) *verdict.Finding {
	repository, digest, err := image.Parse(ref)
	if err != nil {
		return &verdict.Finding{Reason: verdict.ImageNotAllowed, Severity: verdict.Deny, Message: fmt.Sprintf("image %.200q: %v", ref, err)}
	}
	if digest == "" {
		return &verdict.Finding{Reason: verdict.ImageNotPinned, Severity: verdict.Deny,
			Message: fmt.Sprintf("image %.200s names no digest: only digests that a release verified may run here; deploy it through Git, or name the digest", ref)}
	}
	if all := v.all.Load(); all != nil && len((*all)[imageDigest{repository, digest}]) > 0 {
		return nil
	}
	return &verdict.Finding{Reason: verdict.ImageUntrusted, Severity: verdict.Deny,
		Message: fmt.Sprintf("image %.200s is in no release: only digests that a release verified may run here; deploy it through Git", ref)}
}

// openRules are the rules for what no GitSync declares: the PolicySets and the
// TrustPolicies whose admission is not Off.
type openRules struct {
	enforce, audit gate.Checker      // their rules alone
	images         map[string]string // the mode by namespace
}

// mode is the strictest mode of any rule.
func (r *openRules) mode() lock.Mode {
	strictest := lock.Off
	if r == nil {
		return strictest
	}
	if r.enforce.Policies != nil {
		return lock.Enforce
	}
	if r.audit.Policies != nil {
		strictest = lock.Audit
	}
	for _, m := range r.images {
		strictest = lock.Strictest(strictest, lock.Mode(m))
	}
	return strictest
}

// admissionJudge judges what the lock leaves to images and policy. It implements
// lock.Judge.
type admissionJudge struct {
	images *verifiedImages
	rules  atomic.Pointer[openRules]
}

// Judge implements lock.Judge. Without rules nothing is wrong; until they are known
// everything is undetermined.
func (j *admissionJudge) Judge(ctx context.Context, req *admissionv1.AdmissionRequest) []verdict.Finding {
	rules := j.rules.Load()
	if rules == nil {
		return []verdict.Finding{{Stage: verdict.StagePolicy, Reason: verdict.NotReady, Severity: verdict.Undetermined, Message: "the rules are not known yet"}}
	}
	if !judged(req) {
		return nil
	}
	w := gate.Write{
		Operation: string(req.Operation), Group: req.Kind.Group, Kind: req.Kind.Kind,
		ID: writeID(req), Object: req.Object.Raw, OldObject: req.OldObject.Raw,
		User: requester(req), Namespace: req.Namespace, ClusterScoped: req.Namespace == "" || req.Kind.Kind == "Namespace" && req.Kind.Group == "",
	}
	enforce, audit := rules.enforce, rules.audit
	switch rules.images[req.Namespace] {
	case v1alpha1.ModeEnforce:
		enforce.Runs = j.images.runs
	case v1alpha1.ModeAudit:
		audit.Runs = j.images.runs
	}
	findings := enforce.Check(ctx, w)
	for _, f := range audit.Check(ctx, w) {
		if f.Severity.Blocks() {
			f.Severity = verdict.Warn
		}
		findings = append(findings, f)
	}
	return j.images.exceptions.apply(req, findings)
}

// requester is who sent a request.
func requester(req *admissionv1.AdmissionRequest) *gate.User {
	u := &gate.User{Username: req.UserInfo.Username, UID: req.UserInfo.UID, Groups: req.UserInfo.Groups}
	if len(req.UserInfo.Extra) > 0 {
		u.Extra = make(map[string][]string, len(req.UserInfo.Extra))
	}
	for k, v := range req.UserInfo.Extra {
		u.Extra[k] = v
	}
	return u
}

// judged reports whether rules have a say: over objects as a whole, and over what
// subresources can put into a running Pod. Status and the like are controllers'
// business, and an object that only goes away must not be held up.
func judged(req *admissionv1.AdmissionRequest) bool {
	switch req.SubResource {
	case "":
		return req.Operation != admissionv1.Update || !leaving(req)
	case "ephemeralcontainers", "resize":
		return true
	}
	return false
}

// leaving reports whether an update is of an object that is being deleted and leaves
// its spec as it is, as when a finalizer is removed.
func leaving(req *admissionv1.AdmissionRequest) bool {
	var before, after struct {
		Metadata struct {
			DeletionTimestamp *string `json:"deletionTimestamp"`
		} `json:"metadata"`
		Spec any `json:"spec"`
	}
	if json.Unmarshal(req.OldObject.Raw, &before) != nil || json.Unmarshal(req.Object.Raw, &after) != nil {
		return false
	}
	return before.Metadata.DeletionTimestamp != nil && reflect.DeepEqual(before.Spec, after.Spec)
}

// writeID names the object of a request as the gate names objects.
func writeID(req *admissionv1.AdmissionRequest) string {
	id := req.Kind.Kind
	if req.Kind.Group != "" {
		id += "." + req.Kind.Group
	}
	id += "/" + req.Name
	if req.Namespace != "" && req.Kind.Kind != "Namespace" {
		id = req.Namespace + "/" + id
	}
	return id
}

// repaired puts rules that refuse all that a set selects in the place of one that does
// not compile and has no former version that did, as after a restart, or whose rules
// from elsewhere are not trusted: it stops what it was to judge and nothing else.
func (g *gates) repaired(ctx context.Context, sets []reconcile.PolicyInput) []reconcile.PolicyInput {
	out := slices.Clone(sets)
	for i, p := range out {
		says := "the rules of PolicySet " + p.Set.Name + " do not compile, and nothing that they select is let pass: see its status"
		if p.Withheld != nil {
			says = fmt.Sprintf("%v; nothing that it selects is let pass", p.Withheld)
		} else if set, err := g.compiled.get(ctx, p); err == nil || g.lastVersion(p, &set, err) == nil {
			continue
		}
		broken := p.Set.DeepCopy()
		broken.UID, broken.Spec.Parameters = "", nil // not to be taken for a good version
		broken.Spec.Format, broken.Spec.RegoVersion = "", ""
		broken.Spec.Source = v1alpha1.PolicySource{Inline: map[string]string{"broken.rego": fmt.Sprintf(
			"package broken\n\ndeny contains %s\n", quoted(says))}}
		out[i] = reconcile.PolicyInput{Set: broken}
	}
	return out
}

// quoted writes a text as Rego does, whatever is in it.
func quoted(s string) string {
	raw, err := json.Marshal(s)
	if err != nil { // no string fails
		return `"the rules are not in force"`
	}
	return string(raw)
}

// build makes the rules from what is in the cluster. The sets that do not compile
// keep their last version that did.
func (j *admissionJudge) build(ctx context.Context, g *gates, sets []reconcile.PolicyInput, trusts []v1alpha1.TrustPolicy) error {
	rules := &openRules{images: map[string]string{}}
	rules.enforce.Secrets, rules.audit.Secrets = secretKeeper{}, secretKeeper{}
	for mode, checker := range map[string]*gate.Checker{v1alpha1.ModeEnforce: &rules.enforce, v1alpha1.ModeAudit: &rules.audit} {
		mine := slices.DeleteFunc(slices.Clone(sets), func(p reconcile.PolicyInput) bool { return p.Set.Spec.Admission != mode })
		if len(mine) == 0 {
			continue
		}
		engine, err := g.engine(ctx, g.repaired(ctx, mine))
		if err != nil {
			return err
		}
		checker.Policies, checker.Now = admissionEvaluator{engine}, g.clock
		if engine.ReadsImages() {
			checker.Images = j.images.proven
		}
	}
	for _, t := range trusts {
		for _, n := range t.Spec.Namespaces {
			switch t.Spec.Images.Admission {
			case v1alpha1.ModeEnforce:
				rules.images[n] = v1alpha1.ModeEnforce
			case v1alpha1.ModeAudit:
				if rules.images[n] == "" {
					rules.images[n] = v1alpha1.ModeAudit
				}
			}
		}
	}
	j.rules.Store(rules)
	return nil
}

// admissionEvaluator adapts package policy to a gate without a commit.
type admissionEvaluator struct{ engine *policy.Engine }

func (e admissionEvaluator) ReadsContext() bool { return e.engine.ReadsContext() }

func (e admissionEvaluator) Evaluate(ctx context.Context, in gate.PolicyInput) []verdict.Finding {
	return e.engine.Evaluate(ctx, ruleInput(in))
}
