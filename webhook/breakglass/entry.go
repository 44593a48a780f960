package breakglass

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// A Phase is where a grant stands.
type Phase string

// The phases. They appear in output and logs: add, never rename.
const (
	// Refused grants do not count, whatever the time; [State.Err] says why.
	Refused Phase = "refused"
	// Pending grants have not begun.
	Pending Phase = "pending"
	// Active grants count.
	Active Phase = "active"
	// Expired grants have ended.
	Expired Phase = "expired"
	// Revoked grants were taken back.
	Revoked Phase = "revoked"
)

// A State says where a grant stands.
type State struct {
	Name  string
	Phase Phase
	// Err says why the grant is refused.
	Err error
	// Grant is a shared copy: do not change it.
	Grant *v1alpha1.BreakGlassGrant
	// People are the distinct people who signed it with keys that count now, of
	// whom Threshold are needed. Both are zero where it was refused before.
	People    []string
	Threshold int
	// Ignored says of each signature that does not count why.
	Ignored []error
}

// An entry is a grant with what was found out about it that time does not change.
type entry struct {
	object     *v1alpha1.BreakGlass
	payload    []byte // nil for a grant that says nothing valid
	revoked    bool
	threshold  int
	signatures []Signature
	ignored    []error
	err        error
}

// The longest list of signatures that is looked at, and the longest signature.
const (
	maxSignatures     = 16
	maxSignatureBytes = 16 << 10
)

// judge finds out all about a grant but whether it is its time. The caller holds
// the lock.
func (b *Book) judge(g *v1alpha1.BreakGlass) *entry {
	e := &entry{object: g, revoked: g.Spec.Revoked}
	e.payload, e.err = Payload(&g.Spec.Grant)
	if e.err != nil {
		return e
	}
	if e.err = b.fits(g, e.payload); e.err != nil {
		return e
	}
	t := b.trust[g.Spec.Grant.Trust]
	if e.err = t.admits(&g.Spec.Grant); e.err != nil {
		return e
	}
	e.threshold = t.threshold
	for i, s := range g.Spec.Signatures {
		signature, err := verify(t.signers, s.SSH, e.payload)
		if err != nil {
			e.ignored = append(e.ignored, fmt.Errorf("signature %d: %w", i+1, err))
			continue
		}
		e.signatures = append(e.signatures, signature)
	}
	if who := people(e.signatures); len(who) < t.threshold {
		e.err = e.tooFew(who)
		return e
	}
	if end, ok := b.ended[string(e.payload)]; ok && !e.revoked {
		e.err = fmt.Errorf("%s: it cannot come back; request another", end.why)
	}
	return e
}

func verify(signers Verifier, armored string, payload []byte) (Signature, error) {
	if len(armored) > maxSignatureBytes {
		return Signature{}, fmt.Errorf("is larger than %d bytes", maxSignatureBytes)
	}
	s, err := signers.Verify(armored, payload)
	if err == nil && (s.Key == "" || len(s.Principals) == 0 || s.ValidAt == nil) {
		err = errors.New("does not say whose it is")
	}
	return s, err
}

// fits refuses a grant that is not for this cluster, or for gitgate itself.
func (b *Book) fits(g *v1alpha1.BreakGlass, payload []byte) error {
	grant := &g.Spec.Grant
	switch {
	case grant.Cluster != b.cfg.Cluster:
		return fmt.Errorf("it is for the cluster %s, and this is %s", grant.Cluster, b.cfg.Cluster)
	case g.Name != Name(payload):
		return fmt.Errorf("a grant of this content must have the name %s", Name(payload))
	case slices.Contains(grant.Namespaces, b.cfg.System) && slices.ContainsFunc(grant.Resources, notGitSync):
		return fmt.Errorf("no grant opens gitgate's own namespace %s, but for gitsyncs.gitgate.dev", b.cfg.System)
	case len(g.Spec.Signatures) > maxSignatures:
		return fmt.Errorf("it has %d signatures, more than %d", len(g.Spec.Signatures), maxSignatures)
	}
	for _, u := range grant.Users {
		if strings.HasPrefix(u, "system:serviceaccount:"+b.cfg.System+":") {
			return fmt.Errorf("%s is gitgate's own: no grant is for it", u)
		}
	}
	return nil
}

func (e *entry) tooFew(who []string) error {
	names := "nobody"
	if len(who) > 0 {
		names = strings.Join(who, ", ")
	}
	return errors.Join(append([]error{fmt.Errorf("it is signed by %d of the %d people that it needs: %s", len(who), e.threshold, names)}, e.ignored...)...)
}

// state says where the grant stands at a time. Keys count for as long as they are
// valid, so a grant can end with the key of one who signed it.
func (e *entry) state(now time.Time) State {
	g := &e.object.Spec.Grant
	s := State{Name: e.object.Name, Grant: g, Err: e.err, Threshold: e.threshold, Ignored: slices.Clone(e.ignored)}
	var valid []Signature
	for _, signature := range e.signatures {
		if err := signature.ValidAt(now); err != nil {
			s.Ignored = append(s.Ignored, err)
		} else {
			valid = append(valid, signature)
		}
	}
	s.People = people(valid)
	switch {
	case e.revoked && e.payload != nil:
		s.Phase = Revoked
	case e.err != nil:
		s.Phase = Refused
	case !now.Before(g.Expiry.Time):
		s.Phase = Expired
	case len(s.People) < e.threshold:
		s.Phase = Refused
		s.Err = (&entry{threshold: e.threshold, ignored: s.Ignored}).tooFew(s.People)
	case now.Before(g.NotBefore.Add(-ClockSkew)):
		s.Phase = Pending
	default:
		s.Phase = Active
	}
	return s
}

// A trust is what a TrustPolicy says about grants.
type trust struct {
	signers    Verifier
	threshold  int
	namespaces []string
	err        error
}

const (
	defaultThreshold = 2
	everywhere       = "*"
)

func newTrust(p *v1alpha1.TrustPolicy, signers func(string) (Verifier, error)) *trust {
	spec := p.Spec.BreakGlass
	if spec == nil {
		return &trust{err: fmt.Errorf("TrustPolicy %s has no spec.breakGlass, so nobody can sign", p.Name)}
	}
	t := &trust{threshold: defaultThreshold, namespaces: spec.Namespaces}
	if spec.Threshold != nil {
		t.threshold = int(*spec.Threshold)
	}
	if len(t.namespaces) == 0 {
		t.namespaces = slices.DeleteFunc(slices.Clone(p.Spec.Namespaces), func(n string) bool { return n == everywhere })
	}
	if t.threshold < 1 {
		t.err = fmt.Errorf("TrustPolicy %s: spec.breakGlass.threshold is %d: at least one person must sign", p.Name, t.threshold)
		return t
	}
	if t.signers, t.err = signers(spec.AllowedSigners); t.err != nil {
		t.err = fmt.Errorf("TrustPolicy %s: spec.breakGlass: %w", p.Name, t.err)
	}
	return t
}

// admits says why a TrustPolicy, which may be none, does not speak for a grant.
func (t *trust) admits(g *v1alpha1.BreakGlassGrant) error {
	switch {
	case t == nil:
		return fmt.Errorf("there is no TrustPolicy %s", g.Trust)
	case t.err != nil:
		return t.err
	case slices.Contains(t.namespaces, everywhere):
		return nil
	case len(g.Namespaces) == 0:
		return fmt.Errorf("TrustPolicy %s does not open objects that are in no namespace: its spec.breakGlass.namespaces lacks *", g.Trust)
	}
	for _, n := range g.Namespaces {
		if !slices.Contains(t.namespaces, n) {
			return fmt.Errorf("TrustPolicy %s does not open the namespace %s, only %s", g.Trust, n, strings.Join(t.namespaces, ", "))
		}
	}
	return nil
}
