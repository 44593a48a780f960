package gitrepo

//lint:file-ignore SA1019 weak keys are made so that tests see them refused

import (
	"bytes"
	"crypto"
	"crypto/dsa"
	"crypto/rand"
	_ "crypto/sha1" // for signatures that are weak on purpose
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// An OpenPGPAlgorithm is the kind of an OpenPGP key.
type OpenPGPAlgorithm string

// The kinds of OpenPGP keys. DSA and secp256k1 are weak.
const (
	PGPEd25519   OpenPGPAlgorithm = "ed25519" // EdDSA as GnuPG writes it
	PGPEd25519v6 OpenPGPAlgorithm = "ed25519-v6"
	PGPEd448     OpenPGPAlgorithm = "ed448"
	PGPP256      OpenPGPAlgorithm = "p256"
	PGPP384      OpenPGPAlgorithm = "p384"
	PGPBrainpool OpenPGPAlgorithm = "brainpool"
	PGPRSA       OpenPGPAlgorithm = "rsa"
	PGPDSA       OpenPGPAlgorithm = "dsa"
	PGPSecp256k1 OpenPGPAlgorithm = "secp256k1"
)

// OpenPGPOptions says what key to make.
type OpenPGPOptions struct {
	// Name and Email make the user ID.
	Name, Email string
	// Algorithm is PGPEd25519 by default.
	Algorithm OpenPGPAlgorithm
	// Bits is the size of an RSA key; 2048 by default.
	Bits int
	// Created is when the key came into being; a year ago by default.
	Created time.Time
	// Lifetime is how long the key is valid after Created. Zero is for ever.
	Lifetime time.Duration
	// SigningSubkey adds a subkey that makes the signatures.
	SigningSubkey bool
	// CertifyOnly leaves the flag for signing off the primary key.
	CertifyOnly bool
}

// An OpenPGPKey is a key pair that signs. Its methods return changed copies that
// share the pair, except for those that revoke.
type OpenPGPKey struct {
	entity *openpgp.Entity
	email  string
	name   string
	opts   openPGPSigning
}

type openPGPSigning struct {
	digest    crypto.Hash
	at        time.Time
	lifetime  time.Duration
	kind      packet.SignatureType
	primary   bool
	notations []*packet.Notation
	edit      func([]byte) []byte
}

// NewOpenPGP makes a key.
func NewOpenPGP(o OpenPGPOptions) (*OpenPGPKey, error) {
	if o.Created.IsZero() {
		o.Created = time.Now().AddDate(-1, 0, 0)
	}
	config, err := o.config()
	if err != nil {
		return nil, err
	}
	k := &OpenPGPKey{email: o.Email, name: o.Name}
	if o.Algorithm == PGPDSA {
		k.entity, err = newDSA(o, config)
	} else {
		k.entity, err = openpgp.NewEntity(o.Name, "", o.Email, config)
	}
	if err != nil {
		return nil, fmt.Errorf("make OpenPGP key: %w", err)
	}
	if o.Algorithm != PGPEd25519v6 {
		k.entity.Subkeys = nil // those for encryption are of no use here
	}
	if o.CertifyOnly {
		if err := k.certifyOnly(config); err != nil {
			return nil, err
		}
	}
	if o.SigningSubkey {
		sub := *config
		sub.KeyLifetimeSecs = 0
		if err := k.entity.AddSigningSubkey(&sub); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// certifyOnly signs the user ID anew without the flag.
func (k *OpenPGPKey) certifyOnly(config *packet.Config) error {
	for _, id := range k.entity.Identities {
		id.SelfSignature.FlagSign = false
		if err := id.SelfSignature.SignUserId(id.UserId.Id, k.entity.PrimaryKey, k.entity.PrivateKey, config); err != nil {
			return err
		}
	}
	return nil
}

func (o OpenPGPOptions) config() (*packet.Config, error) {
	c := &packet.Config{
		DefaultHash:     crypto.SHA256,
		KeyLifetimeSecs: uint32(o.Lifetime / time.Second),
		Time:            func() time.Time { return o.Created },
		RSABits:         o.Bits,
	}
	switch o.Algorithm {
	case PGPEd25519, "":
		c.Algorithm, c.Curve = packet.PubKeyAlgoEdDSA, packet.Curve25519
	case PGPEd25519v6:
		c.Algorithm, c.V6Keys = packet.PubKeyAlgoEd25519, true
	case PGPEd448:
		c.Algorithm, c.Curve = packet.PubKeyAlgoEdDSA, packet.Curve448
		c.DefaultHash = crypto.SHA512
	case PGPP256:
		c.Algorithm, c.Curve = packet.PubKeyAlgoECDSA, packet.CurveNistP256
	case PGPP384:
		c.Algorithm, c.Curve = packet.PubKeyAlgoECDSA, packet.CurveNistP384
		c.DefaultHash = crypto.SHA384
	case PGPBrainpool:
		c.Algorithm, c.Curve = packet.PubKeyAlgoECDSA, packet.CurveBrainpoolP256
	case PGPSecp256k1:
		c.Algorithm, c.Curve = packet.PubKeyAlgoECDSA, packet.CurveSecP256k1
	case PGPRSA:
		c.Algorithm = packet.PubKeyAlgoRSA
	case PGPDSA:
	default:
		return nil, fmt.Errorf("unknown algorithm %q", o.Algorithm)
	}
	return c, nil
}

// newDSA makes a key that the library no longer makes.
func newDSA(o OpenPGPOptions, config *packet.Config) (*openpgp.Entity, error) {
	private := new(dsa.PrivateKey)
	if err := dsa.GenerateParameters(&private.Parameters, rand.Reader, dsa.L1024N160); err != nil {
		return nil, err
	}
	if err := dsa.GenerateKey(private, rand.Reader); err != nil {
		return nil, err
	}
	key := packet.NewDSAPrivateKey(o.Created, private)
	e := &openpgp.Entity{PrimaryKey: &key.PublicKey, PrivateKey: key, Identities: map[string]*openpgp.Identity{}}
	id := packet.NewUserId(o.Name, "", o.Email)
	primary := true
	self := &packet.Signature{SigType: packet.SigTypePositiveCert, PubKeyAlgo: key.PubKeyAlgo, Hash: crypto.SHA256,
		CreationTime: o.Created, IssuerKeyId: &key.KeyId, IsPrimaryId: &primary,
		FlagsValid: true, FlagSign: true, FlagCertify: true}
	if err := self.SignUserId(id.Id, &key.PublicKey, key, config); err != nil {
		return nil, err
	}
	e.Identities[id.Id] = &openpgp.Identity{Name: id.Id, UserId: id, SelfSignature: self, Signatures: []*packet.Signature{self}}
	return e, nil
}

// Person is the owner of the key.
func (k *OpenPGPKey) Person() Person { return Person{Name: k.name, Email: k.email} }

// Fingerprint is that of the primary key, in upper-case hex.
func (k *OpenPGPKey) Fingerprint() string { return fmt.Sprintf("%X", k.entity.PrimaryKey.Fingerprint) }

// KeyID is that of the primary key.
func (k *OpenPGPKey) KeyID() uint64 { return k.entity.PrimaryKey.KeyId }

// SigningFingerprint is that of the key that signs: the subkey if there is one.
func (k *OpenPGPKey) SigningFingerprint() string { return fmt.Sprintf("%X", k.signing().Fingerprint) }

// Public is the armored public key.
func (k *OpenPGPKey) Public() string {
	return armored(openpgp.PublicKeyType, k.entity.Serialize)
}

// Private is the armored private key, without a passphrase.
func (k *OpenPGPKey) Private() string {
	return armored(openpgp.PrivateKeyType, func(w io.Writer) error { return k.entity.SerializePrivateWithoutSigning(w, nil) })
}

func armored(kind string, serialize func(io.Writer) error) string {
	var b bytes.Buffer
	w, err := armor.EncodeWithChecksumOption(&b, kind, nil, true)
	if err == nil {
		err = serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil { // writing to memory what was made here
		panic("gitrepo: " + err.Error())
	}
	return b.String() + "\n"
}

func (k *OpenPGPKey) with(change func(*openPGPSigning)) *OpenPGPKey {
	c := *k
	change(&c.opts)
	return &c
}

// At signs as if it were the time t: a signature can be dated back.
func (k *OpenPGPKey) At(t time.Time) *OpenPGPKey {
	return k.with(func(o *openPGPSigning) { o.at = t })
}

// Digest signs over another digest than SHA-512, SHA-1 for instance.
func (k *OpenPGPKey) Digest(h crypto.Hash) *OpenPGPKey {
	return k.with(func(o *openPGPSigning) { o.digest = h })
}

// Lasting makes signatures that expire after d.
func (k *OpenPGPKey) Lasting(d time.Duration) *OpenPGPKey {
	return k.with(func(o *openPGPSigning) { o.lifetime = d })
}

// Text makes signatures of the text type, which cover changed line ends.
func (k *OpenPGPKey) Text() *OpenPGPKey {
	return k.with(func(o *openPGPSigning) { o.kind = packet.SigTypeText })
}

// Standalone makes signatures of a type that is not for documents.
func (k *OpenPGPKey) Standalone() *OpenPGPKey {
	return k.with(func(o *openPGPSigning) { o.kind = 0x02 })
}

// Primary signs with the primary key even if there is a subkey.
func (k *OpenPGPKey) Primary() *OpenPGPKey {
	return k.with(func(o *openPGPSigning) { o.primary = true })
}

// Notation adds a notation to signatures.
func (k *OpenPGPKey) Notation(name, value string, critical bool) *OpenPGPKey {
	n := &packet.Notation{Name: name, Value: []byte(value), IsCritical: critical, IsHumanReadable: true}
	return k.with(func(o *openPGPSigning) { o.notations = []*packet.Notation{n} })
}

// Edit changes the binary signature before it is armored.
func (k *OpenPGPKey) Edit(edit func([]byte) []byte) *OpenPGPKey {
	return k.with(func(o *openPGPSigning) { o.edit = edit })
}

// Revoke revokes the key. Public keys taken before stay as they are.
func (k *OpenPGPKey) Revoke(reason packet.ReasonForRevocation, at time.Time) error {
	return k.entity.RevokeKey(reason, "", &packet.Config{Time: func() time.Time { return at }})
}

// RevokeSubkey revokes the signing subkey.
func (k *OpenPGPKey) RevokeSubkey(reason packet.ReasonForRevocation, at time.Time) error {
	return k.entity.RevokeSubkey(&k.entity.Subkeys[0], reason, "", &packet.Config{Time: func() time.Time { return at }})
}

// RevokeBy adds a revocation by another key, as a designated revoker makes it.
func (k *OpenPGPKey) RevokeBy(other *OpenPGPKey, at time.Time) error {
	key := other.entity.PrivateKey
	sig := &packet.Signature{Version: key.Version, SigType: packet.SigTypeKeyRevocation, PubKeyAlgo: key.PubKeyAlgo,
		Hash: crypto.SHA512, CreationTime: at, IssuerKeyId: &key.KeyId}
	if err := sig.RevokeKey(k.entity.PrimaryKey, key, nil); err != nil {
		return err
	}
	k.entity.Revocations = append(k.entity.Revocations, sig)
	return nil
}

func (k *OpenPGPKey) signing() *packet.PrivateKey {
	for _, s := range k.entity.Subkeys {
		if s.Sig.FlagSign && !k.opts.primary {
			return s.PrivateKey
		}
	}
	return k.entity.PrivateKey
}

// Sign implements [Signer].
func (k *OpenPGPKey) Sign(payload []byte) (string, error) {
	key := k.signing()
	sig := &packet.Signature{
		Version: key.Version, SigType: k.opts.kind, PubKeyAlgo: key.PubKeyAlgo, Hash: k.opts.digest,
		CreationTime: k.opts.at, IssuerKeyId: &key.KeyId, IssuerFingerprint: key.Fingerprint, Notations: k.opts.notations,
	}
	if sig.Hash == 0 {
		sig.Hash = crypto.SHA512
	}
	if sig.CreationTime.IsZero() {
		sig.CreationTime = time.Now()
	}
	if s := uint32(k.opts.lifetime / time.Second); s != 0 {
		sig.SigLifetimeSecs = &s
	}
	plain := false // a salt notation is no use here, and SHA-1 rules it out
	config := &packet.Config{NonDeterministicSignaturesViaNotation: &plain}
	h, err := sig.PrepareSign(config)
	if err != nil {
		return "", err
	}
	if k.opts.kind == packet.SigTypeText {
		h = openpgp.NewCanonicalTextHash(h)
	}
	h.Write(payload) // a hash never fails
	if err := sig.Sign(h, key, config); err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := sig.Serialize(&b); err != nil {
		return "", err
	}
	raw := b.Bytes()
	if k.opts.edit != nil {
		raw = k.opts.edit(raw)
	}
	return ArmorSignature(raw), nil
}

// ArmorSignature armors signature packets as GnuPG does.
func ArmorSignature(packets []byte) string {
	return strings.TrimRight(armored(openpgp.SignatureType, func(w io.Writer) error {
		_, err := w.Write(packets)
		return err
	}), "\n") + "\n"
}
