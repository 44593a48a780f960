package image

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// An Attestation is a statement about an image that a rule asks for. The statement
// counts when one of the authorities signed it, it is about the very digest that is
// verified, and it is of the predicate type. Nothing else about it is judged here:
// what it states is for policies.
type Attestation struct {
	// Name is what messages, evidence and policies call it; empty means
	// "attestation-0" and so on.
	Name string
	// PredicateType is a URI, or one of the names that cosign has for them; see
	// [PredicateType]. It must equal that of the statement.
	PredicateType string
	// Authorities are those whose statement counts; empty means those of the rule.
	Authorities []Authority
	// Optional asks for the statement and lets the image pass without it.
	Optional bool
}

// predicateTypes are the names of cosign attest --type.
var predicateTypes = map[string]string{
	"slsaprovenance":   "https://slsa.dev/provenance/v0.2",
	"slsaprovenance02": "https://slsa.dev/provenance/v0.2",
	"slsaprovenance1":  "https://slsa.dev/provenance/v1",
	"spdx":             "https://spdx.dev/Document",
	"spdxjson":         "https://spdx.dev/Document",
	"cyclonedx":        "https://cyclonedx.org/bom",
	"link":             "https://in-toto.io/Link/v1",
	"vuln":             "https://cosign.sigstore.dev/attestation/vuln/v1",
	"openvex":          "https://openvex.dev/ns",
	"custom":           "https://cosign.sigstore.dev/attestation/v1",
}

// PredicateTypeNames lists the short names of predicate types.
func PredicateTypeNames() []string {
	var names []string
	for name := range predicateTypes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// PredicateType is the URI of a predicate type that is given as a URI, or by the
// name that `cosign attest --type` has for it, as slsaprovenance1 or vuln.
func PredicateType(text string) (string, error) {
	if uri, ok := predicateTypes[text]; ok {
		return uri, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Host == "" && u.Opaque == "" || len(text) > 512 {
		return "", fmt.Errorf("%s: want a URI or one of %s", quote(text), strings.Join(PredicateTypeNames(), ", "))
	}
	if text == predicateSign {
		return "", fmt.Errorf("%s: that is a signature; authorities ask for those", quote(text))
	}
	return text, nil
}

// An asked is a compiled [Attestation].
type asked struct {
	name        string
	uri         string
	optional    bool
	authorities []*authority
}

// compileAttestations adds to out what a rule asks for; its error is all that is
// wrong with it.
func compileAttestations(in Rule, out *rule) error {
	var problems []error
	if len(in.Attestations) > 0 && len(in.Authorities) == 0 {
		return errors.New(".attestations: a rule that looks at no signatures asks for no attestations: name authorities")
	}
	for i, a := range in.Attestations {
		fail := func(err error) { problems = append(problems, fmt.Errorf(".attestations[%d]%w", i, err)) }
		one := asked{name: a.Name, optional: a.Optional, authorities: out.authorities}
		if one.name == "" {
			one.name = fmt.Sprintf("attestation-%d", i)
		}
		if slices.ContainsFunc(out.attestations, func(o asked) bool { return o.name == one.name }) {
			fail(fmt.Errorf(".name: %s stands twice in the rule", quote(one.name)))
		}
		var err error
		if one.uri, err = PredicateType(a.PredicateType); err != nil {
			fail(fmt.Errorf(".predicateType: %w", err))
		}
		if len(a.Authorities) > 0 {
			one.authorities = nil
		}
		for j, in := range a.Authorities {
			compiled, err := compileAuthority(in, j, one.authorities)
			if err != nil {
				fail(fmt.Errorf(".authorities[%d]%w", j, err))
				continue
			}
			one.authorities = append(one.authorities, compiled)
		}
		out.attestations = append(out.attestations, one)
	}
	return errors.Join(problems...)
}
