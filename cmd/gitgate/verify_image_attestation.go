package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/verify/image"
)

// attestationFlags say what must have been attested about images.
type attestationFlags struct {
	types, keys []string
	predicates  bool
}

func (o *attestationFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.types, "attestation", nil, "`type` of an attestation that the image must have, as slsaprovenance1 or a URI; may be repeated")
	f.StringArrayVar(&o.keys, "attestation-key", nil, "`file` with a public key that may attest; those of --key without; may be repeated")
	f.BoolVar(&o.predicates, "predicates", false, "print what attestations state, with -o json")
	cmd.MarkFlagsMutuallyExclusive("attestation", "trust")
	cmd.MarkFlagsMutuallyExclusive("attestation-key", "trust")
	// These fail for flags that do not exist alone.
	_ = cmd.MarkFlagFilename("attestation-key", "pub", "pem")
	_ = cmd.RegisterFlagCompletionFunc("attestation", cobra.FixedCompletions(image.PredicateTypeNames(), cobra.ShellCompDirectiveNoFileComp))
}

// add has the rule for --key ask for the attestations.
func (o *attestationFlags) add(c *image.Config) error {
	if len(o.keys) > 0 && len(o.types) == 0 {
		return errors.New("--attestation-key: say with --attestation what is attested")
	}
	if len(o.types) == 0 {
		return nil
	}
	var authorities []image.Authority
	for _, file := range o.keys {
		pem, err := readBounded(file, maxKeyFile)
		if err != nil {
			return fmt.Errorf("--attestation-key: %w", err)
		}
		authorities = append(authorities, image.Authority{Name: file, Key: &image.Key{Data: string(pem)}})
	}
	for _, t := range o.types {
		if _, err := image.PredicateType(t); err != nil {
			return fmt.Errorf("--attestation %w", err)
		}
		c.Rules[0].Attestations = append(c.Rules[0].Attestations, image.Attestation{Name: t, PredicateType: t, Authorities: authorities})
	}
	return nil
}

// An attestationReport is an attestation that counts. Its JSON form is API.
type attestationReport struct {
	image.Attested
	Predicate json.RawMessage `json:"predicate,omitempty"`
}

// attested adds what was attested, and what that states if it is asked for.
func (r *imageReport) attested(e image.Evidence, predicates bool) error {
	for _, a := range e.Attestations() {
		one := attestationReport{Attested: a}
		if predicates {
			var err error
			if one.Predicate, err = a.Predicate(); err != nil {
				return fmt.Errorf("%s: %s: %w", r.Image, a.Name, err)
			}
		}
		r.Attestations = append(r.Attestations, one)
	}
	return nil
}
