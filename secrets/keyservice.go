package secrets

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/ProtonMail/go-crypto/openpgp"
	pgparmor "github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/getsops/sops/v3/keyservice"
)

// errDenied is why a key service does not answer for a kind of key.
var errDenied = errors.New("this kind of key is not served")

// A keyService answers the key requests of sops from [Keys] alone. What sops does
// by itself for these requests is looking into the environment and the home
// directory, running gpg and age plugins, and calling the addresses that the file
// names; with this service in its place none of that code is reached.
type keyService struct {
	ctx  context.Context // of the Open: sops passes none
	keys *Keys
}

var _ keyservice.KeyServiceServer = (*keyService)(nil)

// Encrypt refuses: nothing is ever encrypted here.
func (*keyService) Encrypt(context.Context, *keyservice.EncryptRequest) (*keyservice.EncryptResponse, error) {
	return nil, errDenied
}

// Decrypt recovers a data key, or a share of one, for age and PGP. The recipient
// that the file names is not even parsed: the keys decide what they open.
func (s *keyService) Decrypt(_ context.Context, req *keyservice.DecryptRequest) (*keyservice.DecryptResponse, error) {
	if err := s.ctx.Err(); err != nil {
		return nil, err
	}
	if len(req.Ciphertext) > maxEncryptedDataKey {
		return nil, errors.New("encrypted data key is too long")
	}
	var plain []byte
	var err error
	switch req.GetKey().GetKeyType().(type) {
	case *keyservice.Key_AgeKey:
		plain, err = s.keys.openAge(req.Ciphertext)
	case *keyservice.Key_PgpKey:
		plain, err = s.keys.openPGP(req.Ciphertext)
	default:
		err = errDenied
	}
	if err != nil {
		return nil, err
	}
	return &keyservice.DecryptResponse{Plaintext: plain}, nil
}

func (k *Keys) openAge(enc []byte) ([]byte, error) {
	if len(k.identities) == 0 {
		return nil, errors.New("no age identity")
	}
	// age sorts the slice that it is given.
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(enc)), slices.Clone(k.identities)...)
	if err != nil {
		return nil, err
	}
	return readDataKey(r)
}

func (k *Keys) openPGP(enc []byte) ([]byte, error) {
	if len(k.ring) == 0 {
		return nil, errors.New("no PGP key")
	}
	block, err := pgparmor.Decode(bytes.NewReader(enc))
	if err != nil {
		return nil, err
	}
	limit := int64(maxEncryptedDataKey)
	message, err := openpgp.ReadMessage(block.Body, k.ring, nil, &packet.Config{MaxDecompressedMessageSize: &limit})
	if err != nil {
		return nil, err
	}
	// A message that was never encrypted is read just as well by the library.
	if !message.IsEncrypted || message.DecryptedWith.PrivateKey == nil {
		return nil, errors.New("data key is not encrypted")
	}
	return readDataKey(message.UnverifiedBody)
}

// readDataKey reads to the end, for only there the integrity check happens.
func readDataKey(r io.Reader) ([]byte, error) {
	key, err := io.ReadAll(io.LimitReader(r, maxDataKey+1))
	if err != nil {
		clear(key)
		return nil, err
	}
	if len(key) == 0 || len(key) > maxDataKey {
		clear(key)
		return nil, errors.New("data key has a wrong length")
	}
	return key, nil
}

// foreign reports whether a recipient can only be served by a key service or by
// an age plugin, neither of which is used.
func (r Recipient) foreign() bool {
	switch r.Type {
	case TypePGP:
		return false
	case TypeAge:
		return !(strings.HasPrefix(r.ID, "age1pq1") || strings.HasPrefix(r.ID, "ssh-") ||
			strings.HasPrefix(r.ID, "age1") && strings.LastIndex(r.ID, "1") == len("age"))
	}
	return true
}
