package commit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// A keyring holds the keys of all signers. It is read-only once made.
type keyring struct {
	openPGP      map[uint64][]*openPGPKey // by key ID, subkeys included
	allowed      []*allowedSigner         // in the order of the configuration
	fingerprints map[string]string        // key to the field that brought it
	namespace    string                   // of SSH signatures
}

// add reads the keys of signer number i.
func (k *keyring) add(i int, s SignerConfig, names map[string]bool) error {
	field := fmt.Sprintf("signers[%d]", i)
	switch {
	case strings.TrimSpace(s.Name) == "":
		return configError(field+".name", "a signer needs a name")
	case names[s.Name]:
		return configError(field+".name", "%q is the name of an earlier signer", s.Name)
	}
	names[s.Name] = true
	if s.OpenPGP == "" && s.AllowedSigners == "" {
		return configError(field, "signer %q has no key: give openPGP or allowedSigners", s.Name)
	}
	var errs []error
	if s.OpenPGP != "" {
		errs = append(errs, k.addOpenPGP(field+".openPGP", s))
	}
	if s.AllowedSigners != "" {
		errs = append(errs, k.addAllowedSigners(field+".allowedSigners", s))
	}
	return errors.Join(errs...)
}

// claim refuses a key that was given before: of two copies one may lack the
// revocation that the other has, and of two owners only one can have signed.
func (k *keyring) claim(field, key string) error {
	if first, ok := k.fingerprints[key]; ok {
		return configError(field, "key %s is given twice, first in %s: keep one", key, first)
	}
	k.fingerprints[key] = field
	return nil
}

const (
	armorPublicKey    = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	maxKeyringBytes   = 8 << 20
	maxKeyringPackets = 100_000
)

// addOpenPGP reads every certificate of a keyring. Whatever in it cannot be
// understood and could restrict a key is an error, never skipped.
func (k *keyring) addOpenPGP(field string, s SignerConfig) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = configError(field, "unreadable keyring: %v", r)
		}
	}()
	if len(s.OpenPGP) > maxKeyringBytes {
		return configError(field, "keyring of %d bytes, more than %d", len(s.OpenPGP), maxKeyringBytes)
	}
	blocks, err := keyBlocks(s.OpenPGP)
	if err != nil {
		return configError(field, "%v", err)
	}
	n := 0
	for _, block := range blocks {
		entities, err := readEntities(block)
		if err != nil {
			return configError(field, "%v", err)
		}
		for _, e := range entities {
			n++
			e.signer, e.emails, e.forge = s.Name, slices.Clone(s.Emails), s.Forge || e.isForge()
			if err := k.addEntity(field, e); err != nil {
				return err
			}
		}
	}
	if n == 0 {
		return configError(field, "no OpenPGP key in it: export one with «gpg --armor --export»")
	}
	return nil
}

func (k *keyring) addEntity(field string, e *openPGPEntity) error {
	for _, key := range e.keys {
		if err := k.claim(field, fingerprint(key.public)); err != nil {
			return err
		}
		k.openPGP[key.public.KeyId] = append(k.openPGP[key.public.KeyId], key)
	}
	return nil
}

// keyBlocks decodes one binary keyring or any number of armored ones.
func keyBlocks(data string) ([][]byte, error) {
	if data[0]&0x80 != 0 { // the first bit of every packet (RFC 9580, section 4.2)
		return [][]byte{[]byte(data)}, nil
	}
	if strings.Contains(data, "-----BEGIN PGP PRIVATE KEY BLOCK-----") {
		return nil, errors.New("it holds a private key, which belongs to its owner alone: export the public key")
	}
	var blocks [][]byte
	for n, text := range strings.Split(data, armorPublicKey)[1:] {
		block, err := armor.Decode(strings.NewReader(armorPublicKey + text))
		if err != nil {
			return nil, fmt.Errorf("armored block %d: %v", n+1, err)
		}
		body, err := io.ReadAll(block.Body)
		if err != nil {
			return nil, fmt.Errorf("armored block %d: %v", n+1, err)
		}
		blocks = append(blocks, body)
	}
	return blocks, nil
}

// An entityReader gathers certificates from a sequence of packets.
type entityReader struct {
	entities []*openPGPEntity
	user     *openPGPUser // the component that the next signature speaks of:
	subkey   *openPGPKey  // at most one of user, subkey and skip is set;
	skip     bool         // none means the primary key
}

func readEntities(block []byte) ([]*openPGPEntity, error) {
	packets := packet.NewReader(bytes.NewReader(block))
	var r entityReader
	for n := 0; ; n++ {
		p, err := packets.NextWithUnsupported()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("key %d: %v", len(r.entities), err)
		}
		if n > maxKeyringPackets {
			return nil, errors.New("too many packets")
		}
		if err := r.packet(p); err != nil {
			return nil, fmt.Errorf("key %d: %v", len(r.entities), err)
		}
	}
	for i, e := range r.entities {
		if e.self() == nil && len(e.revocations) == 0 && len(e.users) == 0 {
			return nil, fmt.Errorf("key %d: no valid self-signature", i+1)
		}
		e.keys = slices.DeleteFunc(e.keys, func(k *openPGPKey) bool { return !k.isPrimary() && len(k.bindings) == 0 })
	}
	return r.entities, nil
}

func (r *entityReader) packet(p packet.Packet) error {
	switch p := p.(type) {
	case *packet.PrivateKey:
		return errors.New("it holds a private key, which belongs to its owner alone: export the public key")
	case *packet.UnsupportedPacket:
		return r.unsupported(p)
	case *packet.PublicKey:
		r.user, r.subkey, r.skip = nil, nil, false
		if !p.IsSubkey {
			e := &openPGPEntity{primary: p}
			e.keys = []*openPGPKey{{owner: e, public: p}}
			r.entities = append(r.entities, e)
			return nil
		}
		e, err := r.current()
		if err != nil {
			return err
		}
		r.subkey = &openPGPKey{owner: e, public: p}
		e.keys = append(e.keys, r.subkey)
	case *packet.UserId:
		e, err := r.current()
		if err != nil {
			return err
		}
		r.user, r.subkey, r.skip = &openPGPUser{id: p}, nil, false
		e.users = append(e.users, r.user)
	case *packet.Signature:
		return r.signature(p)
	default: // a photo and the like
		r.user, r.subkey, r.skip = nil, nil, true
	}
	return nil
}

func (r *entityReader) current() (*openPGPEntity, error) {
	if len(r.entities) == 0 {
		return nil, errors.New("it does not begin with a public key")
	}
	return r.entities[len(r.entities)-1], nil
}

// unsupported passes over what cannot restrict a key that we would use.
func (r *entityReader) unsupported(p *packet.UnsupportedPacket) error {
	switch part := p.IncompletePacket.(type) {
	case *packet.PublicKey:
		if !part.IsSubkey {
			return fmt.Errorf("unsupported: %v", p.Error)
		}
		r.user, r.subkey, r.skip = nil, nil, true // no signature by it can verify
	case *packet.Signature:
		onKey := r.user == nil && !r.skip
		if revokes(part.SigType) || onKey && part.SigType != packet.SigTypeDirectSignature &&
			part.SigType != packet.SigTypeSubkeyBinding {
			return fmt.Errorf("a signature that cannot be read and may be a revocation: %v", p.Error)
		}
	default:
		r.user, r.subkey, r.skip = nil, nil, true
	}
	return nil
}

func revokes(t packet.SignatureType) bool {
	return t == packet.SigTypeKeyRevocation || t == packet.SigTypeSubkeyRevocation ||
		t == packet.SigTypeCertificationRevocation
}

// signature verifies a signature by the primary key and files it where it
// belongs. Signatures by others are of no interest, but a revocation that does
// not verify may come from a designated revoker and must not be lost.
func (r *entityReader) signature(sig *packet.Signature) error {
	e, err := r.current()
	if err != nil || r.skip {
		return err
	}
	if revokes(sig.SigType) {
		return r.revocation(e, sig)
	}
	if !sig.CheckKeyIdOrFingerprint(e.primary) {
		return nil
	}
	switch {
	case r.user != nil:
		if sig.SigType >= packet.SigTypeGenericCert && sig.SigType <= packet.SigTypePositiveCert &&
			e.primary.VerifyUserIdSignature(r.user.id.Id, e.primary, sig) == nil {
			r.user.certs = append(r.user.certs, sig)
		}
	case r.subkey != nil:
		if sig.SigType == packet.SigTypeSubkeyBinding && e.primary.VerifyKeySignature(r.subkey.public, sig) == nil {
			r.subkey.bindings = append(r.subkey.bindings, sig)
		}
	case sig.SigType == packet.SigTypeDirectSignature && e.primary.VerifyDirectKeySignature(sig) == nil:
		e.direct = append(e.direct, sig)
	}
	return nil
}

func (r *entityReader) revocation(e *openPGPEntity, sig *packet.Signature) error {
	var err error
	switch {
	case r.user != nil:
		if sig.CheckKeyIdOrFingerprint(e.primary) {
			err = e.primary.VerifyUserIdSignature(r.user.id.Id, e.primary, sig)
			r.user.revocations = append(r.user.revocations, sig)
		}
	case r.subkey != nil:
		err = e.primary.VerifySubkeyRevocationSignature(sig, r.subkey.public)
		r.subkey.revocations = append(r.subkey.revocations, sig)
	default:
		err = e.primary.VerifyRevocationSignature(sig)
		e.revocations = append(e.revocations, sig)
	}
	if err != nil {
		return fmt.Errorf("revocation of %s that does not verify (a designated revoker?): remove the key, or the revocation if it is not genuine",
			fingerprint(e.primary))
	}
	return nil
}
