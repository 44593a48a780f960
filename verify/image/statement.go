package image

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore/pkg/signature"
)

// Bounds of an attestation beside its size.
const (
	// maxStatementDepth bounds how deep a statement nests.
	maxStatementDepth = 100
	// maxEnvelopeSignatures bounds the signatures of one envelope.
	maxEnvelopeSignatures = 16
	// maxSubjects bounds what one statement is about.
	maxSubjects = 1024
)

// An envelope is a DSSE envelope (https://github.com/secure-systems-lab/dsse).
// Nothing in it is trusted before signedBy.
type envelope struct {
	payloadType string
	payload     []byte
	signatures  [][]byte
}

// openEnvelope reads the envelope that a proof holds, in either layout.
func (p proof) openEnvelope() (e envelope, err error) {
	defer func() {
		if recover() != nil { // the parser of bundles is of others and reads hostile bytes
			err = errPanic
		}
	}()
	if p.Layout == LayoutBundle {
		return bundleEnvelope(p.Bundle)
	}
	return parseEnvelope(p.Payload)
}

func bundleEnvelope(raw []byte) (envelope, error) {
	if !shallow(raw) {
		return envelope{}, errDeep
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON(raw); err != nil {
		return envelope{}, errors.New("the bundle cannot be parsed")
	}
	in := b.GetDsseEnvelope()
	if in == nil {
		return envelope{}, errors.New("the bundle holds no statement")
	}
	out := envelope{payloadType: in.GetPayloadType(), payload: in.GetPayload()}
	for _, s := range in.GetSignatures() {
		out.signatures = append(out.signatures, s.GetSig())
	}
	return out, out.check()
}

func parseEnvelope(raw []byte) (envelope, error) {
	var in struct {
		PayloadType string `json:"payloadType"`
		Payload     string `json:"payload"`
		Signatures  []struct {
			Sig string `json:"sig"`
		} `json:"signatures"`
	}
	if !shallow(raw) {
		return envelope{}, errDeep
	}
	if json.Unmarshal(raw, &in) != nil {
		return envelope{}, errors.New("it is no DSSE envelope")
	}
	out := envelope{payloadType: in.PayloadType}
	var err error
	if out.payload, err = decodeEither(in.Payload); err != nil {
		return envelope{}, errors.New("the payload of the envelope is not base64")
	}
	for _, s := range in.Signatures {
		sig, err := decodeEither(s.Sig)
		if err != nil {
			return envelope{}, errors.New("a signature of the envelope is not base64")
		}
		out.signatures = append(out.signatures, sig)
	}
	return out, out.check()
}

func (e envelope) check() error {
	switch {
	case e.payloadType != inToto:
		return fmt.Errorf("its payload is of type %s and no in-toto statement", quote(e.payloadType))
	case len(e.signatures) == 0:
		return errors.New("it is not signed")
	case len(e.signatures) > maxEnvelopeSignatures:
		return fmt.Errorf("it has %d signatures, more than %d", len(e.signatures), maxEnvelopeSignatures)
	}
	return nil
}

// decodeEither reads either alphabet of base64, as DSSE asks verifiers to.
func decodeEither(s string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		raw, err = base64.URLEncoding.DecodeString(s)
	}
	return raw, err
}

// signedBy reports whether the key signed the envelope. Key hints in it are not
// signed, and not looked at.
func (e envelope) signedBy(key signature.Verifier) bool {
	// The pre-authentication encoding of the DSSE protocol.
	signed := fmt.Appendf(nil, "DSSEv1 %d %s %d ", len(e.payloadType), e.payloadType, len(e.payload))
	signed = append(signed, e.payload...)
	return slices.ContainsFunc(e.signatures, func(sig []byte) bool {
		return key.VerifySignature(bytes.NewReader(sig), bytes.NewReader(signed)) == nil
	})
}

// A statement is an in-toto statement
// (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md).
type statement struct {
	subjects      []map[string]string // their digests
	predicateType string
	predicate     []byte
}

var statementTypes = []string{"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"}

var errStatement = errors.New("what is signed is no in-toto statement")

// parseStatement reads a statement. It takes no field twice, nor in another
// spelling.
func parseStatement(raw []byte) (statement, error) {
	if !shallow(raw) {
		return statement{}, errDeep
	}
	fields, err := members(raw)
	if err != nil {
		return statement{}, err
	}
	var s statement
	var kind string
	var subjects []struct {
		Digest map[string]string `json:"digest"`
	}
	for key, to := range map[string]any{"_type": &kind, "predicateType": &s.predicateType, "subject": &subjects} {
		if json.Unmarshal(fields[key], to) != nil {
			return statement{}, errStatement
		}
	}
	switch {
	case !slices.Contains(statementTypes, kind):
		return statement{}, errStatement
	case len(subjects) > maxSubjects:
		return statement{}, fmt.Errorf("it is about %d subjects, more than %d", len(subjects), maxSubjects)
	}
	for _, one := range subjects {
		s.subjects = append(s.subjects, one.Digest)
	}
	if s.predicate = bytes.TrimSpace(fields["predicate"]); len(s.predicate) == 0 {
		s.predicate = []byte("null")
	}
	return s, nil
}

// members reads the members of a JSON object.
func members(raw []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errStatement
	}
	out := map[string]json.RawMessage{}
	for d.More() {
		key, err := d.Token()
		name, ok := key.(string)
		if err != nil || !ok {
			return nil, errStatement
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("the statement has the field %s twice", quote(name))
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, errStatement
		}
		out[name] = value
	}
	if _, err := d.Token(); err != nil || len(bytes.TrimSpace(raw[d.InputOffset():])) > 0 {
		return nil, errStatement
	}
	return out, nil
}

// about reports whether the statement is about a digest.
func (s statement) about(digest string) bool {
	hex := strings.TrimPrefix(digest, "sha256:")
	return slices.ContainsFunc(s.subjects, func(d map[string]string) bool { return d["sha256"] == hex })
}

// subject names what the statement is about, for a message.
func (s statement) subject() string {
	for _, d := range s.subjects {
		if hex := d["sha256"]; hex != "" {
			return quote("sha256:" + hex)
		}
	}
	return "nothing with a sha256 digest"
}

var errDeep = fmt.Errorf("it nests deeper than %d", maxStatementDepth)

// shallow reports whether JSON nests no deeper than a statement may. Parsers
// recurse, so it is asked before them.
func shallow(raw []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted:
			if c == '\\' {
				i++
			} else if c == '"' {
				quoted = false
			}
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			if depth++; depth > maxStatementDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}
