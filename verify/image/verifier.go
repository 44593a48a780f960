package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// A Verifier decides about images. It is safe for concurrent use.
type Verifier struct {
	fallback   Action
	digest     DigestMode
	rules      []*rule
	limits     Limits
	network    *network
	memory     *memory
	disk       disk
	predicates *Predicates
	// recallTags: see Config.RecallTags.
	recallTags bool
	slots      chan struct{}
}

// NewVerifier compiles a configuration. Its error lists everything that is
// wrong, with the place in the configuration; it never repeats key material.
func NewVerifier(c Config) (*Verifier, error) {
	var problems []error
	fill(&c.Default, Deny)
	fill(&c.Digest, Resolve)
	fill(&c.CacheEntries, 4096)
	if c.Predicates == nil {
		c.Predicates = NewPredicates(0)
	}
	if c.Default != Allow && c.Default != Deny {
		problems = append(problems, fmt.Errorf("default: %s: want Allow or Deny", quote(string(c.Default))))
	}
	if c.Digest != Resolve && c.Digest != Required {
		problems = append(problems, fmt.Errorf("digest: %s: want Resolve or Required", quote(string(c.Digest))))
	}
	if c.Limits.negative() || c.CacheEntries < 0 {
		problems = append(problems, errors.New("limits: negative"))
	}
	rules, err := compileRules(c.Rules)
	problems = append(problems, err)
	limits := c.Limits.withDefaults()
	net, err := newNetwork(c, limits)
	problems = append(problems, err)
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &Verifier{
		fallback:   c.Default,
		digest:     c.Digest,
		rules:      rules,
		limits:     limits,
		network:    net,
		memory:     newMemory(c.CacheEntries),
		disk:       disk(c.CacheDir),
		predicates: c.Predicates,
		recallTags: c.RecallTags && c.CacheDir != "",
		slots:      make(chan struct{}, limits.Parallel),
	}, nil
}

// Verify decides about one image, for itself; see [Verifier.NewSession] for
// many. Its error is always an [*Error].
func (v *Verifier) Verify(ctx context.Context, ref string) (Evidence, error) {
	return v.NewSession().Verify(ctx, ref)
}

// A demand is a rule that matches an image.
type demand struct {
	*rule
	glob string
}

// demands lists the rules that match; err is set if one of them, or the
// default, refuses without looking further.
func (v *Verifier) demands(r reference) ([]demand, *Error) {
	var all []demand
	for _, rule := range v.rules {
		glob, ok := rule.match(r.name())
		if !ok {
			continue
		}
		if rule.static == Deny {
			return nil, &Error{Reason: ImageNotAllowed, Image: r.original,
				Message: fmt.Sprintf("%s (%s) denies images of %s", rule.label, glob, r.name())}
		}
		all = append(all, demand{rule, glob})
	}
	if len(all) == 0 && v.fallback != Allow {
		return nil, &Error{Reason: ImageNotAllowed, Image: r.original,
			Message: fmt.Sprintf("no rule matches %s: add one, or use an image of a repository that is covered", r.name())}
	}
	return all, nil
}

// judge decides about a reference that is not known yet.
func (v *Verifier) judge(ctx context.Context, r reference, demands []demand) (found, *Error) {
	if r.digest == "" && v.digest == Required {
		return found{}, &Error{Reason: ImageNotPinned, Image: r.original,
			Message: "the trust policy requires a digest: write " + quote(r.original) + "@sha256:… in Git"}
	}
	grants, signed := staticGrants(demands)
	if r.digest != "" {
		if signed == nil {
			return found{r.digest, known{grants: grants}}, nil
		}
		if more, ok := v.remembered(r, signed, v.network.offline); ok {
			return found{r.digest, more.after(grants)}, nil
		}
	}
	ctx, cancel := context.WithTimeout(withBudget(ctx, v.limits), v.limits.Timeout)
	defer cancel()
	return v.ask(ctx, r, grants, signed)
}

// ask is judge where the registry is needed.
func (v *Verifier) ask(ctx context.Context, r reference, grants []Grant, signed []demand) (found, *Error) {
	client, err := v.network.open(ctx, r)
	if err != nil {
		return v.unanswered(ctx, r, grants, signed, "", err)
	}
	if r.digest == "" {
		digest, err := client.resolve(ctx, r.tag)
		if err != nil {
			return v.unanswered(ctx, r, grants, signed, "", err)
		}
		v.disk.putTag(r, digest) // it is worth nothing without the proofs of the digest
		if signed == nil {
			return found{digest, known{grants: grants}}, nil
		}
		r.digest = digest
		if more, ok := v.remembered(r, signed, false); ok {
			return found{digest, more.after(grants)}, nil
		}
	}
	return v.prove(ctx, client, r, grants, signed)
}

// prove looks for the signatures of a digest, and then for the attestations that are
// asked for: what nobody signed needs none.
func (v *Verifier) prove(ctx context.Context, client *client, r reference, grants []Grant, signed []demand) (found, *Error) {
	s := newSearch(r.digest, signed)
	err := s.run(ctx, client)
	if !s.satisfied() {
		if err != nil {
			return v.unanswered(ctx, r, grants, signed, "the signatures of ", err)
		}
		return found{}, s.refusal(r)
	}
	g := newGathering(r.digest, signed, v.sourceOf(r))
	if g != nil {
		if err := g.run(ctx, client); err != nil {
			return v.unanswered(ctx, r, grants, signed, "the attestations of ", err)
		}
		if refusal := g.refusal(r); refusal != nil {
			return found{}, refusal
		}
	}
	return found{r.digest, v.keep(r, s, g).after(grants)}, nil
}

// keep remembers what was proven.
func (v *Verifier) keep(r reference, s *search, g *gathering) known {
	k, proofs := known{grants: s.grants}, s.proofs
	if g != nil {
		k.attested, proofs = g.attested, append(proofs, g.proofs...)
	}
	v.memory.put(r.proofs(), k)
	v.disk.put(r.proofs(), proofs)
	return k
}

// after adds the grants that need no signature, in front.
func (k known) after(grants []Grant) known {
	return known{append(grants, k.grants...), k.attested}
}

func (v *Verifier) sourceOf(r reference) *source {
	return &source{kept: v.predicates, disk: v.disk, limits: v.limits, key: r.proofs()}
}

// unanswered is for a registry that cannot be asked. Where tags may be recalled, what
// was verified before serves: a tag stands for what it stood for last, and the proofs
// are verified anew.
func (v *Verifier) unanswered(ctx context.Context, r reference, grants []Grant, signed []demand, what string, err error) (found, *Error) {
	if v.recallTags && silent(err) {
		last := r
		if last.digest == "" {
			last.digest = v.disk.getTag(r)
		}
		if last.digest != "" && signed == nil {
			return found{last.digest, known{grants: grants}}, nil
		}
		if more, ok := v.remembered(last, signed, true); last.digest != "" && ok {
			return found{last.digest, more.after(grants)}, nil
		}
	}
	return found{}, v.registryError(ctx, r, what, err)
}

// silent reports whether an error means that the registry said nothing about the
// image: a tag that is gone is an answer.
func silent(err error) bool {
	var limit *limitError
	if errors.As(err, &limit) {
		return false
	}
	var answer *transport.Error
	return !errors.As(err, &answer) || answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests
}

// remembered answers from what was verified before. Attestations are asked for again
// after a while, unless the caller has nobody to ask.
func (v *Verifier) remembered(r reference, signed []demand, nobody bool) (known, bool) {
	attested := asksForAttestations(signed)
	if k, ok := v.memory.get(r.proofs(), attested && !nobody); ok && atHand(k.attested) {
		return k, true
	}
	if attested && !nobody {
		return known{}, false
	}
	s, g := newSearch(r.digest, signed), newGathering(r.digest, signed, v.sourceOf(r))
	for _, p := range v.disk.get(r.proofs(), v.limits) {
		switch {
		case !p.Statement:
			s.offer(p)
		case g != nil:
			g.offer(p, "")
		}
	}
	if !s.satisfied() || !g.satisfied() {
		return known{}, false
	}
	k := known{grants: s.grants}
	if g != nil {
		k.attested = g.attested
	}
	v.memory.put(r.proofs(), k)
	return k, true
}

// staticGrants separates the rules that need no signature from those that do.
func staticGrants(demands []demand) (grants []Grant, signed []demand) {
	if len(demands) == 0 {
		return []Grant{{Rule: "default", Layout: LayoutStatic}}, nil
	}
	for _, d := range demands {
		if d.static == Allow {
			grants = append(grants, Grant{Rule: d.label, Match: d.glob, Layout: LayoutStatic})
			continue
		}
		signed = append(signed, d)
	}
	return grants, signed
}
