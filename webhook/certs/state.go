package certs

import (
	"bytes"
	"crypto/tls"
	"maps"
	"time"
)

// The keys of the Secret. tls.crt, tls.key and ca.crt are named as cert-manager
// names them.
const (
	keyBundle   = "ca.crt" // what clients must trust: previous, current and next
	keyCurrent  = "current.crt"
	keyCurrentK = "current.key"
	keyNext     = "next.crt"
	keyNextK    = "next.key"
	keyPrevious = "previous.crt"
	keyLeaf     = "tls.crt"
	keyLeafK    = "tls.key"
)

// A state is the content of the Secret: the authority that signs, the one that
// will, the one that did, and the serving certificate.
type state struct {
	current, next, previous *authority
	leaf                    *tls.Certificate
	leafPEM, leafKeyPEM     []byte
}

// parse reads a Secret. What is damaged is missing: it is made anew.
func parse(data map[string][]byte) state {
	var s state
	if a, err := parseAuthority(data[keyCurrent], data[keyCurrentK]); err == nil && a.key != nil {
		s.current = a
	}
	if a, err := parseAuthority(data[keyNext], data[keyNextK]); err == nil && a.key != nil {
		s.next = a
	}
	if a, err := parseAuthority(data[keyPrevious], nil); err == nil {
		s.previous = a
	}
	if len(data[keyLeaf]) <= maxPEM && len(data[keyLeafK]) <= maxPEM {
		if pair, err := tls.X509KeyPair(data[keyLeaf], data[keyLeafK]); err == nil && pair.Leaf != nil {
			s.leaf, s.leafPEM, s.leafKeyPEM = &pair, data[keyLeaf], data[keyLeafK]
		}
	}
	return s
}

// bundle is what clients must trust.
func (s state) bundle() []byte {
	var b bytes.Buffer
	for _, a := range []*authority{s.previous, s.current, s.next} {
		if a != nil {
			b.Write(a.certPEM)
		}
	}
	return b.Bytes()
}

func (s state) data() map[string][]byte {
	d := map[string][]byte{keyBundle: s.bundle(), keyLeaf: s.leafPEM, keyLeafK: s.leafKeyPEM}
	if s.current != nil {
		d[keyCurrent], d[keyCurrentK] = s.current.certPEM, s.current.keyPEM
	}
	if s.next != nil {
		d[keyNext], d[keyNextK] = s.next.certPEM, s.next.keyPEM
	}
	if s.previous != nil {
		d[keyPrevious] = s.previous.certPEM
	}
	return d
}

// A plan says how long certificates live.
type plan struct {
	caLife, leafLife, overlap time.Duration
	hosts                     []string
	// trusted reports whether clients have been told of a bundle.
	trusted func(bundle []byte) bool
}

// advance brings a state up to date. The result is s itself where nothing is
// due.
func (p plan) advance(s state, now time.Time) (state, error) {
	var err error
	if s.next != nil && s.next.expired(now) {
		s.next = nil
	}
	if s.current == nil || s.current.expired(now) {
		// The next one is trusted already, if there is one. Without it clients
		// have to be told anew.
		s.current, s.next, s.previous = s.next, nil, nil
		if s.current == nil {
			if s.current, err = newAuthority(now, p.caLife); err != nil {
				return s, err
			}
		}
	}
	if s.next == nil && aged(s.current.cert, now) {
		if s.next, err = newAuthority(now, p.caLife); err != nil {
			return s, err
		}
	}
	if s.next != nil && now.After(s.next.created().Add(p.overlap)) && p.trusted(s.bundle()) {
		s.previous, s.current, s.next = s.current, s.next, nil
	}
	// By then every replica serves what the current authority signed.
	if s.previous != nil && (s.previous.expired(now) || now.After(s.current.created().Add(2*p.overlap+p.leafLife))) {
		s.previous = nil
	}
	if s.leaf != nil && s.current.verifyLeaf(s.leaf, now, p.hosts) == nil && !aged(s.leaf.Leaf, now) {
		return s, nil
	}
	s.leafPEM, s.leafKeyPEM, err = s.current.issue(now, p.leafLife, p.hosts)
	if err != nil {
		return s, err
	}
	pair, err := tls.X509KeyPair(s.leafPEM, s.leafKeyPEM)
	s.leaf = &pair
	return s, err
}

func equalData(a, b map[string][]byte) bool { return maps.EqualFunc(a, b, bytes.Equal) }
