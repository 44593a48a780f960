package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
)

// maxDepth bounds how deep objects may nest. Nothing that the API server stores
// comes near.
const maxDepth = 512

// errReview means that a body is not an AdmissionReview that can be answered.
var errReview = errors.New("not an AdmissionReview of admission.k8s.io/v1 with a request")

// decodeReview reads the envelope of an AdmissionReview. The objects in it stay
// as they are, and alias body: a decider that needs no object never pays for
// one. Members that we do not know are ignored; one given twice is an error.
func decodeReview(body []byte) (*admissionv1.AdmissionRequest, error) {
	var apiVersion, kind, request []byte
	s := scanner{data: body}
	err := s.members(func(key string) error {
		var into *[]byte
		switch key {
		case "apiVersion":
			into = &apiVersion
		case "kind":
			into = &kind
		case "request":
			into = &request
		}
		return s.take(into)
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errReview, err)
	}
	if s.space(); s.pos != len(body) {
		return nil, fmt.Errorf("%w: something follows it", errReview)
	}
	if string(apiVersion) != `"admission.k8s.io/v1"` || string(kind) != `"AdmissionReview"` || request == nil || request[0] != '{' {
		return nil, errReview
	}
	req, err := decodeRequest(request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errReview, err)
	}
	return req, nil
}

// smallMembers of a request are bounded by what the API server allows for names.
var smallMembers = [...]string{
	"uid", "kind", "resource", "subResource", "requestKind", "requestResource", "requestSubResource",
	"name", "namespace", "operation", "userInfo", "dryRun",
}

// decodeRequest reads a request. What is small goes through encoding/json at
// once, what may be large is only delimited.
func decodeRequest(raw []byte) (*admissionv1.AdmissionRequest, error) {
	var object, oldObject, options []byte
	small := make([]byte, 1, 1024)
	small[0] = '{'
	s := scanner{data: raw}
	var seen [len(smallMembers)]bool
	err := s.members(func(key string) error {
		switch key {
		case "object":
			return s.take(&object)
		case "oldObject":
			return s.take(&oldObject)
		case "options":
			return s.take(&options)
		}
		i := slices.Index(smallMembers[:], key)
		if i < 0 {
			return s.take(nil)
		}
		if seen[i] {
			return errTwice
		}
		seen[i] = true
		var value []byte
		if err := s.take(&value); err != nil {
			return err
		}
		if len(small) > 1 {
			small = append(small, ',')
		}
		small = append(append(append(small, '"'), key...), '"', ':')
		small = append(small, value...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	req := &admissionv1.AdmissionRequest{}
	if err := json.Unmarshal(append(small, '}'), req); err != nil {
		return nil, err
	}
	req.Object.Raw, req.OldObject.Raw, req.Options.Raw = present(object), present(oldObject), present(options)
	if req.UID == "" || req.Operation == "" || req.Resource.Resource == "" {
		return nil, errors.New("uid, operation or resource is missing")
	}
	return req, nil
}

// present returns raw, or nil for null.
func present(raw []byte) []byte {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

var (
	errSyntax = errors.New("invalid JSON")
	errTwice  = errors.New("a member is given twice")
	errDepth  = errors.New("nested too deeply")
)

// A scanner finds where values begin and end. It does not check what is inside
// of them: whoever decodes a value does.
type scanner struct {
	data []byte
	pos  int
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// next skips space and consumes c.
func (s *scanner) next(c byte) bool {
	s.space()
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// members calls visit at each value of an object; visit must take it.
func (s *scanner) members(visit func(key string) error) error {
	if !s.next('{') {
		return errSyntax
	}
	if s.next('}') {
		return nil
	}
	for {
		key, err := s.key()
		if err != nil {
			return err
		}
		if err := visit(key); err != nil {
			return err
		}
		if s.next('}') {
			return nil
		}
		if !s.next(',') {
			return errSyntax
		}
	}
}

// key consumes the name of a member. One with escapes is none of ours: the API
// server writes none.
func (s *scanner) key() (string, error) {
	s.space()
	start := s.pos
	if s.pos >= len(s.data) || s.data[s.pos] != '"' || !s.string() {
		return "", errSyntax
	}
	key := s.data[start+1 : s.pos-1]
	if bytes.IndexByte(key, '\\') >= 0 || !s.next(':') {
		return "", errSyntax
	}
	return string(key), nil
}

// take consumes a value and puts it into v, unless that is nil; v must be empty.
func (s *scanner) take(v *[]byte) error {
	s.space()
	start := s.pos
	if err := s.value(); err != nil {
		return err
	}
	if v == nil {
		return nil
	}
	if *v != nil {
		return errTwice
	}
	*v = s.data[start:s.pos:s.pos]
	return nil
}

// string consumes a string whose opening quote is at pos.
func (s *scanner) string() bool {
	for s.pos++; ; {
		n := bytes.IndexByte(s.data[s.pos:], '"')
		if n < 0 {
			return false
		}
		end := s.pos + n
		// A quote after an odd number of backslashes is part of the string.
		slashes := 0
		for i := end - 1; i >= s.pos && s.data[i] == '\\'; i-- {
			slashes++
		}
		s.pos = end + 1
		if slashes%2 == 0 {
			return true
		}
	}
}

// value consumes a value of any kind.
func (s *scanner) value() error {
	if s.pos >= len(s.data) {
		return errSyntax
	}
	if c := s.data[s.pos]; c != '{' && c != '[' && c != '"' {
		return s.scalar()
	}
	for depth := 0; s.pos < len(s.data); {
		switch s.data[s.pos] {
		case '"':
			if !s.string() {
				return errSyntax
			}
			if depth == 0 {
				return nil
			}
			continue
		case '{', '[':
			if depth++; depth > maxDepth {
				return errDepth
			}
		case '}', ']':
			if depth--; depth == 0 {
				s.pos++
				return nil
			}
		}
		s.pos++
	}
	return errSyntax
}

// scalar consumes a number, true, false or null, as far as that can be told.
func (s *scanner) scalar() error {
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c == '-', c == '+', c == '.', c == 'E':
			s.pos++
			continue
		}
		break
	}
	if s.pos == start {
		return errSyntax
	}
	return nil
}
