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
	fallback Action
	digest   DigestMode
	rules    []*rule
	limits   Limits
	network  *network
	memory   *memory
	disk     disk
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
			return found{r.digest, grants}, nil
		}
		if more, ok := v.remembered(r, signed); ok {
			return found{r.digest, append(grants, more...)}, nil
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
		return v.unanswered(ctx, r, grants, signed, err)
	}
	digest := r.digest
	if digest == "" {
		if digest, err = client.resolve(ctx, r.tag); err != nil {
			return v.unanswered(ctx, r, grants, signed, err)
		}
		if signed == nil {
			v.disk.putTag(r, digest)
			return found{digest, grants}, nil
		}
		v.disk.putTag(r, digest) // it is worth nothing without the proofs of the digest
		r.digest = digest
		if more, ok := v.remembered(r, signed); ok {
			return found{digest, append(grants, more...)}, nil
		}
	}
	s := newSearch(digest, signed)
	err = s.run(ctx, client)
	if s.satisfied() {
		v.memory.put(r.name()+"@"+digest, s.grants)
		v.disk.put(r.name()+"@"+digest, s.proofs)
		return found{digest, append(grants, s.grants...)}, nil
	}
	if err != nil {
		return found{}, v.registryError(ctx, r, digest, err)
	}
	return found{}, s.refusal(r)
}

// unanswered is for a registry that cannot be asked. Where tags may be recalled,
// one stands for what it stood for last, whose proofs are verified anew.
func (v *Verifier) unanswered(ctx context.Context, r reference, grants []Grant, signed []demand, err error) (found, *Error) {
	if v.recallTags && r.digest == "" && silent(err) {
		known := r
		known.digest = v.disk.getTag(r)
		if known.digest != "" && signed == nil {
			return found{known.digest, grants}, nil
		}
		if more, ok := v.remembered(known, signed); known.digest != "" && ok {
			return found{known.digest, append(grants, more...)}, nil
		}
	}
	return found{}, v.registryError(ctx, r, "", err)
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

// remembered answers from what was verified before.
func (v *Verifier) remembered(r reference, signed []demand) ([]Grant, bool) {
	key := r.name() + "@" + r.digest
	if grants, ok := v.memory.get(key); ok {
		return grants, true
	}
	s := newSearch(r.digest, signed)
	for _, p := range v.disk.get(key, v.limits) {
		s.offer(p)
	}
	if !s.satisfied() {
		return nil, false
	}
	v.memory.put(key, s.grants)
	return s.grants, true
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
