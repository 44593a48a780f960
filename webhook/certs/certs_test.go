package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/test/testkit/cluster"
)

var epoch = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func testPlan() plan {
	return plan{
		caLife: 90 * 24 * time.Hour, leafLife: 24 * time.Hour, overlap: 10 * time.Minute,
		hosts: []string{"gitgate-webhook.gitgate-system.svc", "127.0.0.1"}, trusted: func([]byte) bool { return true },
	}
}

// verifies reports whether a client that trusts bundle accepts the leaf of s.
func verifies(s state, bundle []byte, now time.Time, hosts []string) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	if _, err := s.leaf.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now}); err != nil {
		return err
	}
	for _, h := range hosts {
		if err := s.leaf.Leaf.VerifyHostname(h); err != nil {
			return err
		}
	}
	return nil
}

// TestRotation walks through the lives of eight authorities, with a client that
// learns of bundles five minutes late and a replica that serves what was current
// five minutes ago.
func TestRotation(t *testing.T) {
	const step, lag = 5 * time.Minute, 1
	p := testPlan()
	p.caLife, p.leafLife = 72*time.Hour, 2*time.Hour
	var states []state
	var s state
	authorities, leaves, rotations := map[string]bool{}, map[string]bool{}, 0
	for now := epoch; now.Before(epoch.Add(17 * 24 * time.Hour)); now = now.Add(step) {
		// The state goes through the Secret, as it does in life.
		next, err := p.advance(parse(s.data()), now)
		if err != nil {
			t.Fatal(err)
		}
		if s.current != nil && !bytes.Equal(s.current.certPEM, next.current.certPEM) {
			rotations++
			if next.previous == nil {
				t.Fatalf("%s: the old authority is not trusted any more right after the new one signs", now)
			}
		}
		s = next
		states = append(states, s)
		authorities[string(s.current.certPEM)], leaves[string(s.leafPEM)] = true, true
		late := states[max(0, len(states)-1-lag)]
		for what, err := range map[string]error{
			"now":                          verifies(s, s.bundle(), now, p.hosts),
			"by a client that lags":        verifies(s, late.bundle(), now, p.hosts),
			"of a replica that lags":       verifies(late, s.bundle(), now, p.hosts),
			"of both lagging, as at start": verifies(late, late.bundle(), now, p.hosts),
		} {
			if err != nil {
				t.Fatalf("%s: the certificate does not verify %s: %v", now, what, err)
			}
		}
		if len(states) > 4 {
			states = states[1:]
		}
	}
	if rotations < 8 || len(authorities) < 9 || len(leaves) < 250 {
		t.Errorf("%d rotations, %d authorities, %d certificates: nothing was rotated", rotations, len(authorities), len(leaves))
	}
}

func TestAdvanceWaitsForTrust(t *testing.T) {
	p := testPlan()
	p.trusted = func([]byte) bool { return false }
	s, err := p.advance(state{}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	first := s.current.certPEM
	for _, after := range []time.Duration{61, 62, 80} {
		if s, err = p.advance(s, epoch.Add(after*24*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(s.current.certPEM, first) || s.next == nil {
		t.Error("an authority signs that clients do not trust yet")
	}
	p.trusted = func(b []byte) bool { return bytes.Contains(b, s.next.certPEM) }
	if s, err = p.advance(s, epoch.Add(81*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(s.current.certPEM, first) {
		t.Error("the authority that is trusted now does not sign")
	}
}

func TestAdvanceRepairs(t *testing.T) {
	p := testPlan()
	good, err := p.advance(state{}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	other, err := p.advance(state{}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason   string
		damage   func(map[string][]byte)
		now      time.Time
		sameCA   bool
		sameLeaf bool
	}{
		"Nothing":     {"What is good stays.", func(map[string][]byte) {}, epoch, true, true},
		"Empty":       {"An empty Secret is filled.", func(d map[string][]byte) { clear(d) }, epoch, false, false},
		"LeafGone":    {"The authority signs another.", func(d map[string][]byte) { delete(d, keyLeaf) }, epoch, true, false},
		"LeafForeign": {"Who swaps the leaf gets nothing served.", func(d map[string][]byte) { d[keyLeaf], d[keyLeafK] = other.leafPEM, other.leafKeyPEM }, epoch, true, false},
		"KeyForeign":  {"A key of another authority is none.", func(d map[string][]byte) { d[keyCurrentK] = other.current.keyPEM }, epoch, false, false},
		"LeafAsCA":    {"A leaf is no authority.", func(d map[string][]byte) { d[keyCurrent], d[keyCurrentK] = d[keyLeaf], d[keyLeafK] }, epoch, false, false},
		"Huge": {"Size is bounded.", func(d map[string][]byte) {
			d[keyCurrent] = append(bytes.Repeat([]byte("\n"), maxPEM), d[keyCurrent]...)
		}, epoch, false, false},
		"Expired":     {"After years of sleep.", func(map[string][]byte) {}, epoch.Add(3 * 365 * 24 * time.Hour), false, false},
		"LeafExpired": {"After days of sleep.", func(map[string][]byte) {}, epoch.Add(3 * 24 * time.Hour), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			data := good.data()
			tc.damage(data)
			s, err := p.advance(parse(data), tc.now)
			if err != nil {
				t.Fatal(err)
			}
			if err := verifies(s, s.bundle(), tc.now, p.hosts); err != nil {
				t.Errorf("%s\nthe repaired certificate does not verify: %v", tc.reason, err)
			}
			if same := bytes.Equal(s.current.certPEM, good.current.certPEM); same != tc.sameCA {
				t.Errorf("%s\nsame authority: %t, want %t", tc.reason, same, tc.sameCA)
			}
			if same := bytes.Equal(s.leafPEM, good.leafPEM); same != tc.sameLeaf {
				t.Errorf("%s\nsame certificate: %t, want %t", tc.reason, same, tc.sameLeaf)
			}
		})
	}
}

func TestNewManagedRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"NoHosts":     {Name: "x"},
		"NoSecret":    {Hosts: []string{"a"}},
		"LeafOutside": {Hosts: []string{"a"}, Name: "x", CALifetime: time.Hour},
	} {
		if _, err := NewManaged(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestShared lets replicas race for one Secret of a real API server.
func TestShared(t *testing.T) {
	c := cluster.New(t, cluster.Options{})
	secrets := c.Client().CoreV1().Secrets("default")
	replica := func() *Managed {
		m, err := NewManaged(Config{Secrets: secrets, Name: "tls", Hosts: []string{"127.0.0.1"}})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	replicas := make([]*Managed, 6)
	var wg sync.WaitGroup
	for i := range replicas {
		replicas[i] = replica()
		if replicas[i].Certificate() != nil || replicas[i].Bundle() != nil {
			t.Error("something is served before the Secret was read")
		}
		wg.Go(func() {
			if err := replicas[i].Sync(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, m := range replicas[1:] {
		if !bytes.Equal(m.Bundle(), replicas[0].Bundle()) || !bytes.Equal(m.Certificate().Certificate[0], replicas[0].Certificate().Certificate[0]) {
			t.Error("replicas serve different certificates")
		}
	}
	bundle := replicas[0].Bundle()
	if err := secrets.Delete(t.Context(), "tls", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := replicas[3].Sync(t.Context()); err != nil || !bytes.Equal(replicas[3].Bundle(), bundle) {
		t.Errorf("after deletion: %v; what clients trust is lost", err)
	}
	if m := replica(); m.Sync(t.Context()) != nil || !bytes.Equal(m.Bundle(), bundle) {
		t.Error("a replica that comes later does not adopt")
	}
	denied, err := NewManaged(Config{Secrets: secrets, Name: "Not A Name", Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := denied.Sync(t.Context()); !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) || denied.Certificate() != nil {
		t.Errorf("Sync of an impossible Secret: %v", err)
	}
}

func TestFiles(t *testing.T) {
	p, dir := testPlan(), t.TempDir()
	write := func(s state) {
		for name, data := range map[string][]byte{"tls.crt": s.leafPEM, "tls.key": s.leafKeyPEM, "ca.crt": s.bundle()} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, err := p.advance(state{}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	cfg := FilesConfig{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt")}
	if _, err := NewFiles(cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("NewFiles without files = %v", err)
	}
	write(s)
	f, err := NewFiles(cfg)
	if err != nil {
		t.Fatal(err)
	}
	first := f.Certificate()
	if err := f.Reload(); err != nil || f.Certificate() != first {
		t.Error("reloading what has not changed makes something new")
	}
	other, err := p.advance(state{}, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.Key, other.leafKeyPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(); err == nil || f.Certificate() != first {
		t.Errorf("half a replacement: %v; want an error and the old pair", err)
	}
	write(other)
	if err := f.Reload(); err != nil || bytes.Equal(f.Certificate().Certificate[0], first.Certificate[0]) || !bytes.Equal(f.Bundle(), other.bundle()) {
		t.Errorf("Reload = %v, and the new pair is not served", err)
	}
	if err := os.WriteFile(cfg.CA, bytes.Repeat([]byte("x"), maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(); !errors.Is(err, errTooLarge) {
		t.Errorf("a huge file: %v", err)
	}
	if got := Expiry(f); !got.Equal(f.Certificate().Leaf.NotAfter) || got.IsZero() {
		t.Errorf("Expiry = %v", got)
	}
	if !Expiry(none{}).IsZero() {
		t.Error("what is not served expires")
	}
}

type none struct{ Source }

func (none) Certificate() *tls.Certificate { return nil }
