package gitrepo

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"slices"

	"golang.org/x/crypto/ssh"
)

// A securityKey plays a FIDO token in software (PROTOCOL.u2f).
type securityKey struct {
	private ed25519.PrivateKey
	public  ssh.PublicKey
}

const skApplication = "ssh:"

func newSecurityKey(private ed25519.PrivateKey) (*securityKey, error) {
	public, err := ssh.ParsePublicKey(ssh.Marshal(struct {
		Type        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, private.Public().(ed25519.PublicKey), skApplication}))
	return &securityKey{private, public}, err
}

func (k *securityKey) PublicKey() ssh.PublicKey { return k.public }

// Sign implements [ssh.Signer] for a token that is touched.
func (k *securityKey) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	return k.sign(data, true)
}

func (k *securityKey) sign(data []byte, touched bool) (*ssh.Signature, error) {
	if k.private == nil {
		return nil, errors.New("no key")
	}
	state := []byte{0, 0, 0, 0, 7} // flags and counter
	if touched {
		state[0] = 1
	}
	application, digest := sha256.Sum256([]byte(skApplication)), sha256.Sum256(data)
	sig := ed25519.Sign(k.private, slices.Concat(application[:], state, digest[:]))
	return &ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: sig, Rest: state}, nil
}
