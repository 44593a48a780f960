package parity

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

const day = 24 * time.Hour

// people are those who sign beside Alice and Bob. The TrustPolicies name all of
// them but the strangers: what is wrong with a key is not that it is unknown.
type people struct {
	pgp map[string]*gitrepo.OpenPGPKey
	ssh map[string]*gitrepo.SSHKey
	// certified signs with a certificate of ssh["authority"], for a name that it
	// covers, and misnamed for one that it does not.
	certified, misnamed *gitrepo.SSHKey
	// stranger has an SSH key that no TrustPolicy names.
	stranger *gitrepo.SSHKey
}

func newPeople() (p people, err error) {
	now := time.Now()
	p = people{pgp: map[string]*gitrepo.OpenPGPKey{}, ssh: map[string]*gitrepo.SSHKey{}}
	for name, o := range map[string]gitrepo.OpenPGPOptions{
		"carol": {}, "rsa": {Algorithm: gitrepo.PGPRSA}, "rsa1024": {Algorithm: gitrepo.PGPRSA, Bits: 1024}, "dsa": {Algorithm: gitrepo.PGPDSA},
		"koblitz": {Algorithm: gitrepo.PGPSecp256k1}, "subkey": {SigningSubkey: true}, "certifier": {CertifyOnly: true},
		"expired": {Created: now.Add(-100 * day), Lifetime: 50 * day}, "revoked": {Created: now.Add(-100 * day)},
		"retired": {Created: now.Add(-100 * day)}, "future": {Created: now.Add(10 * day)},
	} {
		o.Name, o.Email = name, name+"@example.com"
		var e error
		p.pgp[name], e = gitrepo.NewOpenPGP(o)
		err = errors.Join(err, e)
	}
	var e error
	p.pgp["forge"], e = gitrepo.NewOpenPGP(gitrepo.OpenPGPOptions{Name: "GitHub", Email: "noreply@github.com"})
	err = errors.Join(err, e)
	for name, algorithm := range map[string]gitrepo.SSHAlgorithm{
		"dave": gitrepo.SSHEd25519, "sshrsa": gitrepo.SSHRSA, "sshrsa1024": gitrepo.SSHRSA1024, "sshdsa": gitrepo.SSHDSA,
		"token": gitrepo.SSHSKEd25519, "lapsed": gitrepo.SSHEd25519, "authority": gitrepo.SSHEd25519, "machine": gitrepo.SSHP256,
	} {
		p.ssh[name], e = gitrepo.NewSSH(name, name+"@example.com", algorithm)
		err = errors.Join(err, e)
	}
	p.stranger, e = gitrepo.NewSSH("stranger", "bob@example.com", gitrepo.SSHEd25519)
	if err = errors.Join(err, e); err != nil {
		return p, err
	}
	return p, errors.Join(
		p.pgp["revoked"].Revoke(packet.KeyCompromised, now.Add(-30*day)),
		p.pgp["retired"].Revoke(packet.KeyRetired, now.Add(-30*day)),
		p.certify(),
	)
}

// certify issues certificates to keys that are in no list themselves.
func (p *people) certify() error {
	subject, err := gitrepo.NewSSH("Erin", "erin@example.com", gitrepo.SSHEd25519)
	if err != nil {
		return err
	}
	if p.certified, err = p.ssh["authority"].Certify(subject, gitrepo.Certificate{Principals: []string{"erin@example.com"}}); err != nil {
		return err
	}
	p.misnamed, err = p.ssh["authority"].Certify(subject, gitrepo.Certificate{Principals: []string{"mallory@example.org"}})
	return err
}

// trust is what every site trusts: the lab's policy and all people.
func (w *world) trust() *v1alpha1.TrustPolicy {
	trust := w.TrustPolicy()
	c := &trust.Spec.Commits
	add := func(s v1alpha1.CommitSigner) {
		c.Signers = append(c.Signers, s)
		c.Rules[0].Signers = append(c.Rules[0].Signers, s.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(w.people.pgp)) {
		key := w.people.pgp[name]
		add(v1alpha1.CommitSigner{Name: name, OpenPGP: &v1alpha1.KeySource{Data: key.Public()}})
	}
	for _, name := range slices.Sorted(maps.Keys(w.people.ssh)) {
		key := w.people.ssh[name]
		lines := key.AllowedSigner()
		switch name {
		case "lapsed":
			lines = key.AllowedSigner(`valid-before="20250101Z"`)
		case "authority":
			lines = key.AllowedSignerAs("*@example.com", "cert-authority")
		case "machine":
			lines = key.AllowedSigner(`namespaces="file"`)
		}
		add(v1alpha1.CommitSigner{Name: name, SSH: &v1alpha1.SSHSigner{AllowedSigners: lines}})
	}
	trust.Spec.Images = w.images.trust(w.Lab, trust.Spec.Images)
	return trust
}
