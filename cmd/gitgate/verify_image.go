package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/verify/image"
)

// verifyImageOptions are the flags of `gitgate verify image`.
type verifyImageOptions struct {
	trustedKeys
	registryFlags
	attestationFlags
	output   string
	cacheDir string
}

func newVerifyImageCommand() *cobra.Command {
	var o verifyImageOptions
	cmd := &cobra.Command{
		Use:   "image REF...",
		Short: "Verify who signed images",
		Long: `Verify looks each image up once, verifies signatures over the digest that it
found and prints the reference to use: the one with that digest.

Say whom to trust either with public keys, any of which suffices for every
image, or with a TrustPolicy. Signatures are found where cosign keeps them, in
the tag named after the digest and in Sigstore bundles that refer to the image.
Only keys are supported by this version, not keyless signatures.

With --attestation an image is good only if that was attested about its very
digest too, as cosign attest does: in the tag or in a bundle, signed by one of
--attestation-key, or of --key without. The type is a URI or one of cosign's
names: custom, cyclonedx, link, openvex, slsaprovenance, slsaprovenance02,
slsaprovenance1, spdx, spdxjson and vuln. A TrustPolicy says for itself what it
asks for. What an attestation states is for policies to judge.

Credentials come from the docker configuration, as for docker and cosign; the
pull secrets that a TrustPolicy names are for the cluster.

With -o json there is one object a line: image, status (good, bad, unsigned,
untrusted, unattested or unavailable), reason, digest, pinned, rule, authority,
layout, attestations (each with rule, name, predicateType, authority, key, layout,
digest, size and, with --predicates, predicate) and message.

Exit codes: 0 every image is good, 1 an image is refused, 2 wrong use or
configuration, 3 a registry is unavailable and no image is refused.`,
		Example: `  # is it signed by the release key?
  gitgate verify image --key cosign.pub ghcr.io/acme/app:1.4

  # what would the cluster say?
  gitgate verify image --trust trust.yaml ghcr.io/acme/app:1.4 nginx

  # was it scanned, and what was found?
  gitgate verify image --key cosign.pub --attestation vuln --attestation-key scanner.pub \
    --predicates -o json ghcr.io/acme/app:1.4 | jq '.attestations[].predicate'

  # pin what was verified
  gitgate verify image --key cosign.pub -o json ghcr.io/acme/app:1.4 | jq -r .pinned`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), args, cmd.OutOrStdout())
		},
	}
	o.trustedKeys.flags(cmd)
	o.registryFlags.flags(cmd)
	o.attestationFlags.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.StringVar(&o.cacheDir, "cache-dir", "", "`directory` that keeps signatures between runs; they are verified again")
	f.DurationVar(&o.limits.Timeout, "timeout", 0, "time for each image; 0 means 10s")
	return cmd
}

func (o *verifyImageOptions) run(ctx context.Context, refs []string, stdout io.Writer) error {
	if o.output != "text" && o.output != "json" {
		return fmt.Errorf("--output %q: want text or json", o.output)
	}
	if o.predicates && o.output != "json" {
		return errors.New("--predicates: JSON is printed with -o json only")
	}
	config, err := o.config()
	if err != nil {
		return err
	}
	verifier, err := image.NewVerifier(config)
	if err != nil {
		return err
	}
	refused, unknown := false, false
	for i, r := range verifier.NewSession().VerifyAll(ctx, refs) {
		if r.Err != nil {
			refused = refused || !r.Err.Undetermined
			unknown = unknown || r.Err.Undetermined
		}
		report := newImageReport(refs[i], r)
		if err := report.attested(r.Evidence, o.predicates); err != nil {
			return err
		}
		if err := report.print(stdout, o.output); err != nil {
			return err
		}
	}
	switch {
	case refused:
		return denied()
	case unknown:
		return undetermined()
	}
	return nil
}

func (o *verifyImageOptions) config() (image.Config, error) {
	c, err := o.trustedKeys.config()
	if err == nil {
		err = o.attestationFlags.add(&c)
	}
	if err == nil {
		err = o.reach(&c)
	}
	c.CacheDir = o.cacheDir
	return c, err
}

// An imageReport is what one image comes to. Its JSON form is API.
type imageReport struct {
	Image     string       `json:"image"`
	Status    string       `json:"status"`
	Reason    image.Reason `json:"reason,omitempty"`
	Digest    string       `json:"digest,omitempty"`
	Pinned    string       `json:"pinned,omitempty"`
	Rule      string       `json:"rule,omitempty"`
	Authority string       `json:"authority,omitempty"`
	Layout    string       `json:"layout,omitempty"`
	// Attestations are those that were asked for and that count.
	Attestations []attestationReport `json:"attestations,omitempty"`
	Message      string              `json:"message,omitempty"`
}

func newImageReport(ref string, r image.Result) imageReport {
	if r.Err == nil {
		e := r.Evidence
		return imageReport{Image: ref, Status: "good", Digest: e.Digest(), Pinned: e.Pinned(),
			Rule: e.Rule(), Authority: e.Authority(), Layout: e.Layout()}
	}
	status := "bad"
	switch r.Err.Reason {
	case image.ImageUnsigned:
		status = "unsigned"
	case image.ImageUntrusted:
		status = "untrusted"
	case image.AttestationMissing, image.AttestationInvalid:
		status = "unattested"
	case image.RegistryUnavailable:
		status = "unavailable"
	}
	return imageReport{Image: ref, Status: status, Reason: r.Err.Reason, Message: r.Err.Message}
}

func (r imageReport) print(w io.Writer, format string) error {
	if format == "json" {
		return json.NewEncoder(w).Encode(r)
	}
	var err error
	switch {
	case r.Status != "good":
		_, err = fmt.Fprintf(w, "%-11s %v\n", r.Status, &image.Error{Reason: r.Reason, Image: r.Image, Message: r.Message})
	case r.Authority == "":
		_, err = fmt.Fprintf(w, "%-11s %s (%s, without a signature)\n", r.Status, r.Pinned, r.Rule)
	default:
		_, err = fmt.Fprintf(w, "%-11s %s (%s, signed by %s)\n", r.Status, r.Pinned, r.Rule, r.Authority)
	}
	for _, a := range r.Attestations {
		if err == nil {
			_, err = fmt.Fprintf(w, "%-11s   %s (%s) by %s: %d bytes, %s\n", "", a.Name, a.PredicateType, a.Authority, a.Size, a.Digest)
		}
	}
	return err
}
