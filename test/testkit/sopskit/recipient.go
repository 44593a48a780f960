package sopskit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"github.com/ProtonMail/go-crypto/openpgp"
	pgparmor "github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/hcvault"
	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/pgp"
	"golang.org/x/crypto/ssh"
)

// A Recipient is one to whom files can be encrypted.
type Recipient interface {
	// ID is how the metadata of a file names the recipient.
	ID() string
	masterKey() keys.MasterKey
	encrypt(dataKey []byte) ([]byte, error)
}

// Age is an age key pair.
type Age struct {
	recipient age.Recipient
	id        string
	private   []byte
}

// NewAge makes an X25519 key pair.
func NewAge() (*Age, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	r := id.Recipient()
	return &Age{recipient: r, id: r.String(), private: identityFile(r.String(), id.String())}, nil
}

// NewAgeHybrid makes a post-quantum hybrid key pair.
func NewAgeHybrid() (*Age, error) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return nil, err
	}
	r := id.Recipient()
	return &Age{recipient: r, id: r.String(), private: identityFile(r.String(), id.String())}, nil
}

// NewAgeSSH makes an Ed25519 key pair of SSH, which age can encrypt to.
func NewAgeSSH() (*Age, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	sshPublic, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPublic)))
	r, err := agessh.ParseRecipient(line)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, err
	}
	return &Age{recipient: r, id: line, private: pem.EncodeToMemory(block)}, nil
}

func identityFile(public, private string) []byte {
	return fmt.Appendf(nil, "# public key: %s\n%s\n", public, private)
}

// ID returns the age recipient.
func (a *Age) ID() string { return a.id }

// PrivateKey returns an identity file as age-keygen writes it, or the PEM of an
// SSH key: the entry NAME.agekey of a key Secret.
func (a *Age) PrivateKey() []byte { return bytes.Clone(a.private) }

func (a *Age) masterKey() keys.MasterKey { return &sopsage.MasterKey{Recipient: a.id} }

func (a *Age) encrypt(dataKey []byte) ([]byte, error) {
	var b bytes.Buffer
	aw := armor.NewWriter(&b)
	w, err := age.Encrypt(aw, a.recipient)
	if err != nil {
		return nil, err
	}
	return finish(&b, w, aw, dataKey)
}

// PGP is an OpenPGP key pair.
type PGP struct{ entity *openpgp.Entity }

// NewPGP makes an OpenPGP key pair for a name, with Curve25519 subkeys.
func NewPGP(name string) (*PGP, error) {
	e, err := openpgp.NewEntity(name, "", "", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		return nil, err
	}
	return &PGP{e}, nil
}

// ID returns the fingerprint of the primary key, in upper-case hex.
func (p *PGP) ID() string { return fmt.Sprintf("%X", p.entity.PrimaryKey.Fingerprint) }

// PrivateKey returns the armored private key: the entry NAME.asc of a key Secret.
func (p *PGP) PrivateKey() ([]byte, error) {
	var b bytes.Buffer
	w, err := pgparmor.Encode(&b, openpgp.PrivateKeyType, nil)
	if err != nil {
		return nil, err
	}
	if err := p.entity.SerializePrivate(w, nil); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// PublicKey returns the armored public key.
func (p *PGP) PublicKey() ([]byte, error) {
	var b bytes.Buffer
	w, err := pgparmor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		return nil, err
	}
	if err := p.entity.Serialize(w); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// LockedPrivateKey returns the private key protected by a passphrase. The pair
// itself stays usable.
func (p *PGP) LockedPrivateKey(passphrase []byte) ([]byte, error) {
	open, err := p.PrivateKey()
	if err != nil {
		return nil, err
	}
	ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(open))
	if err != nil {
		return nil, err
	}
	if err := ring[0].EncryptPrivateKeys(passphrase, nil); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := pgparmor.Encode(&b, openpgp.PrivateKeyType, nil)
	if err != nil {
		return nil, err
	}
	if err := ring[0].SerializePrivateWithoutSigning(w, nil); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (p *PGP) masterKey() keys.MasterKey { return pgp.NewMasterKeyFromFingerprint(p.ID()) }

func (p *PGP) encrypt(dataKey []byte) ([]byte, error) {
	var b bytes.Buffer
	aw, err := pgparmor.Encode(&b, "PGP MESSAGE", nil)
	if err != nil {
		return nil, err
	}
	w, err := openpgp.Encrypt(aw, []*openpgp.Entity{p.entity}, nil, &openpgp.FileHints{IsBinary: true}, nil)
	if err != nil {
		return nil, err
	}
	return finish(&b, w, aw, dataKey)
}

// PGPInTheOpen is a recipient of the same name as a PGP key whose data key lies in an
// OpenPGP message that is not encrypted, as an attacker may write it.
type PGPInTheOpen struct{ PGP *PGP }

// ID returns the fingerprint of the primary key.
func (o PGPInTheOpen) ID() string { return o.PGP.ID() }

func (o PGPInTheOpen) masterKey() keys.MasterKey { return o.PGP.masterKey() }

func (o PGPInTheOpen) encrypt(dataKey []byte) ([]byte, error) {
	var b bytes.Buffer
	aw, err := pgparmor.Encode(&b, "PGP MESSAGE", nil)
	if err != nil {
		return nil, err
	}
	w, err := packet.SerializeLiteral(aw, true, "", 0)
	if err != nil {
		return nil, err
	}
	return finish(&b, w, aw, dataKey)
}

// finish writes the data key and closes the writers, inner first.
func finish(b *bytes.Buffer, inner, outer io.WriteCloser, dataKey []byte) ([]byte, error) {
	if _, err := inner.Write(dataKey); err != nil {
		return nil, err
	}
	if err := inner.Close(); err != nil {
		return nil, err
	}
	if err := outer.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Vault is a key in a HashiCorp Vault. Nothing is encrypted to it: files name it,
// and whoever follows the name gives itself away.
type Vault struct{ Address string }

// ID returns the address of the key.
func (v Vault) ID() string { return v.masterKey().ToString() }

func (v Vault) masterKey() keys.MasterKey { return hcvault.NewMasterKey(v.Address, "sops", "gitgate") }

func (v Vault) encrypt([]byte) ([]byte, error) { return []byte("vault:v1:bm90aGluZw=="), nil }

// Plugin is an age recipient of a plugin, such as age1yubikey1q…. Nothing is
// encrypted to it.
type Plugin string

// ID returns the recipient.
func (p Plugin) ID() string { return string(p) }

func (p Plugin) masterKey() keys.MasterKey { return &sopsage.MasterKey{Recipient: string(p)} }

func (p Plugin) encrypt([]byte) ([]byte, error) {
	return []byte("-----BEGIN AGE ENCRYPTED FILE-----\n-----END AGE ENCRYPTED FILE-----\n"), nil
}

// encryptService lets sops encrypt its data key to our recipients without the
// programs and files that it would use by itself.
type encryptService struct{ recipients map[string]Recipient }

func (s *encryptService) Encrypt(_ context.Context, req *keyservice.EncryptRequest) (*keyservice.EncryptResponse, error) {
	var id string
	switch k := req.Key.KeyType.(type) {
	case *keyservice.Key_AgeKey:
		id = k.AgeKey.Recipient
	case *keyservice.Key_PgpKey:
		id = k.PgpKey.Fingerprint
	case *keyservice.Key_VaultKey:
		id = Vault{Address: k.VaultKey.VaultAddress}.ID()
	}
	r, ok := s.recipients[id]
	if !ok {
		return nil, fmt.Errorf("sopskit: no recipient %q", id)
	}
	enc, err := r.encrypt(req.Plaintext)
	if err != nil {
		return nil, err
	}
	return &keyservice.EncryptResponse{Ciphertext: enc}, nil
}

func (s *encryptService) Decrypt(context.Context, *keyservice.DecryptRequest) (*keyservice.DecryptResponse, error) {
	return nil, errors.New("sopskit: nothing is decrypted here")
}
