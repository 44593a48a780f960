package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/verify/image"
)

// registryFlags say how registries are reached.
type registryFlags struct {
	ca           string
	tokenHosts   []string
	loopbackHTTP bool
	limits       image.Limits
}

func (o *registryFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.ca, "ca-cert", "", "`file` with further certificate authorities of registries, in PEM")
	f.StringArrayVar(&o.tokenHosts, "token-host", nil, "`registry=host`: a host that may receive the registry's credentials for a token; may be repeated")
	f.BoolVar(&o.loopbackHTTP, "allow-loopback-http", false, "allow plain HTTP to registries on this machine")
}

// reach puts them into a configuration, with the credentials of the docker
// configuration.
func (o *registryFlags) reach(c *image.Config) (err error) {
	if o.ca != "" {
		if c.CA, err = readBounded(o.ca, maxTrustFile); err != nil {
			return fmt.Errorf("--ca-cert: %w", err)
		}
	}
	c.TokenHosts = make(map[string][]string)
	for _, pair := range o.tokenHosts {
		registry, host, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("--token-host %q: want registry=host", pair)
		}
		c.TokenHosts[registry] = append(c.TokenHosts[registry], host)
	}
	c.Keychain = authn.DefaultKeychain
	c.LoopbackHTTP, c.Limits = o.loopbackHTTP, o.limits
	return nil
}

// trustedKeys are the flags that say whose signature counts.
type trustedKeys struct {
	keys  []string
	trust string
}

func (o *trustedKeys) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.keys, "key", nil, "`file` with a public key that may sign, as cosign.pub; may be repeated")
	f.StringVar(&o.trust, "trust", "", "`file` with the TrustPolicy to apply")
	cmd.MarkFlagsMutuallyExclusive("key", "trust")
	cmd.MarkFlagsOneRequired("key", "trust")
	// These fail for flags that do not exist alone.
	_ = cmd.MarkFlagFilename("key", "pub", "pem")
	_ = cmd.MarkFlagFilename("trust", "yaml", "yml", "json")
}

// config is what the keys, or the TrustPolicy, say of images.
func (o *trustedKeys) config() (c image.Config, err error) {
	if o.trust != "" {
		policy, err := readTrustPolicy(o.trust)
		if err != nil {
			return c, err
		}
		c = imageConfig(policy.Spec.Images)
	}
	if len(o.keys) == 0 {
		return c, nil
	}
	rule := image.Rule{Match: []string{"**"}}
	for _, file := range slices.Compact(slices.Sorted(slices.Values(o.keys))) {
		pem, err := readBounded(file, maxKeyFile)
		if err != nil {
			return c, fmt.Errorf("--key: %w", err)
		}
		rule.Authorities = append(rule.Authorities, image.Authority{Name: file, Key: &image.Key{Data: string(pem)}})
	}
	c.Rules = []image.Rule{rule}
	return c, nil
}
