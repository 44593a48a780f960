package gitrepo

//lint:file-ignore SA1019 weak keys are made so that tests see them refused

import (
	"crypto"
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// An SSHAlgorithm is the kind of an SSH key.
type SSHAlgorithm string

// The kinds of SSH keys. DSA is weak, and so is RSA of 1024 bits.
const (
	SSHEd25519   SSHAlgorithm = "ed25519"
	SSHRSA       SSHAlgorithm = "rsa"
	SSHRSA1024   SSHAlgorithm = "rsa1024"
	SSHP256      SSHAlgorithm = "p256"
	SSHP384      SSHAlgorithm = "p384"
	SSHDSA       SSHAlgorithm = "dsa"
	SSHSKEd25519 SSHAlgorithm = "sk-ed25519" // a security key, played in software
)

// An SSHKey is a key pair that signs. Its methods return changed copies.
type SSHKey struct {
	name, email string
	private     crypto.PrivateKey
	signer      ssh.Signer
	public      ssh.PublicKey // the key, or its certificate
	opts        sshSigning
}

type sshSigning struct {
	namespace string
	digest    string
	format    string // of an RSA signature
	untouched bool   // of a security key
}

// NewSSH makes a key.
func NewSSH(name, email string, algorithm SSHAlgorithm) (*SSHKey, error) {
	k := &SSHKey{name: name, email: email, opts: sshSigning{namespace: "git", digest: "sha512", format: ssh.KeyAlgoRSASHA512}}
	var err error
	if k.private, err = newPrivate(algorithm); err != nil {
		return nil, err
	}
	if algorithm == SSHSKEd25519 {
		k.signer, err = newSecurityKey(k.private.(ed25519.PrivateKey))
	} else {
		k.signer, err = ssh.NewSignerFromKey(k.private)
	}
	if err != nil {
		return nil, err
	}
	k.public = k.signer.PublicKey()
	return k, nil
}

func newPrivate(algorithm SSHAlgorithm) (crypto.PrivateKey, error) {
	switch algorithm {
	case SSHEd25519, SSHSKEd25519, "":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case SSHRSA:
		return rsa.GenerateKey(rand.Reader, 2048)
	case SSHRSA1024:
		return rsa.GenerateKey(rand.Reader, 1024)
	case SSHP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case SSHP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case SSHDSA:
		key := new(dsa.PrivateKey)
		if err := dsa.GenerateParameters(&key.Parameters, rand.Reader, dsa.L1024N160); err != nil {
			return nil, err
		}
		return key, dsa.GenerateKey(key, rand.Reader)
	}
	return nil, fmt.Errorf("unknown algorithm %q", algorithm)
}

// Person is the owner of the key.
func (k *SSHKey) Person() Person { return Person{Name: k.name, Email: k.email} }

// Fingerprint is SHA256:… of the key, also when it has a certificate.
func (k *SSHKey) Fingerprint() string { return ssh.FingerprintSHA256(k.signer.PublicKey()) }

// Public is the key in the form of authorized_keys, without a comment.
func (k *SSHKey) Public() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.signer.PublicKey())))
}

// Private is the private key as OpenSSH writes it, without a passphrase.
func (k *SSHKey) Private() (string, error) {
	block, err := ssh.MarshalPrivateKey(k.private, k.email)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(block)), nil
}

// AllowedSigner is a line of an allowed_signers file for the owner's address,
// with options as in cert-authority or namespaces="git".
func (k *SSHKey) AllowedSigner(options ...string) string {
	return k.AllowedSignerAs(k.email, options...)
}

// AllowedSignerAs is AllowedSigner for other principals.
func (k *SSHKey) AllowedSignerAs(principals string, options ...string) string {
	words := []string{principals}
	if len(options) > 0 {
		words = append(words, strings.Join(options, ","))
	}
	return strings.Join(append(words, k.Public()), " ") + "\n"
}

func (k *SSHKey) with(change func(*SSHKey)) *SSHKey {
	c := *k
	change(&c)
	return &c
}

// Namespace signs for another purpose than git.
func (k *SSHKey) Namespace(name string) *SSHKey {
	return k.with(func(k *SSHKey) { k.opts.namespace = name })
}

// Digest names the digest of signatures: sha512, sha256, or one that is refused.
func (k *SSHKey) Digest(name string) *SSHKey {
	return k.with(func(k *SSHKey) { k.opts.digest = name })
}

// SHA1 makes signatures of the form ssh-rsa.
func (k *SSHKey) SHA1() *SSHKey { return k.with(func(k *SSHKey) { k.opts.format = ssh.KeyAlgoRSA }) }

// Untouched makes a security key sign without anybody present.
func (k *SSHKey) Untouched() *SSHKey { return k.with(func(k *SSHKey) { k.opts.untouched = true }) }

// Certificate says what an authority certifies.
type Certificate struct {
	Principals              []string
	ValidAfter, ValidBefore time.Time // zero is no limit
	CriticalOptions         map[string]string
	Host                    bool
	SHA1                    bool // signed by RSA with SHA-1
}

// Certify issues a certificate for subject; the copy returned signs with it.
func (k *SSHKey) Certify(subject *SSHKey, c Certificate) (*SSHKey, error) {
	cert := &ssh.Certificate{
		Key: subject.signer.PublicKey(), KeyId: subject.email, CertType: ssh.UserCert, Serial: 1,
		ValidPrincipals: c.Principals, ValidBefore: ssh.CertTimeInfinity,
		Permissions: ssh.Permissions{CriticalOptions: c.CriticalOptions},
	}
	if c.Host {
		cert.CertType = ssh.HostCert
	}
	if !c.ValidAfter.IsZero() {
		cert.ValidAfter = uint64(c.ValidAfter.Unix())
	}
	if !c.ValidBefore.IsZero() {
		cert.ValidBefore = uint64(c.ValidBefore.Unix())
	}
	authority := k.signer
	if rsaSigner, ok := authority.(ssh.AlgorithmSigner); ok && authority.PublicKey().Type() == ssh.KeyAlgoRSA {
		format := ssh.KeyAlgoRSASHA512
		if c.SHA1 {
			format = ssh.KeyAlgoRSA
		}
		multi, err := ssh.NewSignerWithAlgorithms(rsaSigner, []string{format})
		if err != nil {
			return nil, err
		}
		authority = multi
	}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		return nil, err
	}
	return subject.with(func(k *SSHKey) { k.public = cert }), nil
}

// Sign implements [Signer] (PROTOCOL.sshsig).
func (k *SSHKey) Sign(payload []byte) (string, error) {
	var digest []byte
	switch k.opts.digest {
	case "sha256":
		sum := sha256.Sum256(payload)
		digest = sum[:]
	default: // a digest that is refused need not be right
		sum := sha512.Sum512(payload)
		digest = sum[:]
	}
	signed := append([]byte("SSHSIG"), ssh.Marshal(struct {
		Namespace, Reserved, HashAlgorithm string
		Hash                               []byte
	}{k.opts.namespace, "", k.opts.digest, digest})...)
	sig, err := k.sign(signed)
	if err != nil {
		return "", err
	}
	blob := append([]byte("SSHSIG"), ssh.Marshal(struct {
		Version                            uint32
		PublicKey                          []byte
		Namespace, Reserved, HashAlgorithm string
		Signature                          []byte
	}{1, k.public.Marshal(), k.opts.namespace, "", k.opts.digest, ssh.Marshal(sig)})...)
	return string(pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: blob})), nil
}

func (k *SSHKey) sign(data []byte) (*ssh.Signature, error) {
	if sk, ok := k.signer.(*securityKey); ok {
		return sk.sign(data, !k.opts.untouched)
	}
	if s, ok := k.signer.(ssh.AlgorithmSigner); ok && k.signer.PublicKey().Type() == ssh.KeyAlgoRSA {
		return s.SignWithAlgorithm(rand.Reader, data, k.opts.format)
	}
	return k.signer.Sign(rand.Reader, data)
}
