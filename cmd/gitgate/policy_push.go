package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gitgate.dev/gitgate/policy"
	policybundle "gitgate.dev/gitgate/policy/bundle"
	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/verify/bundle"
	"gitgate.dev/gitgate/verify/image"
)

// passwordVariable is where cosign looks for the password of a private key.
const passwordVariable = "COSIGN_PASSWORD"

// maxBundleFile bounds a bundle that is read from a file.
const maxBundleFile = 8 << 20

// signingKey is the flag that names a private key.
type signingKey struct{ file string }

func (o *signingKey) flag(cmd *cobra.Command, when string) {
	cmd.Flags().StringVar(&o.file, "key", "", "`file` with the private key that signs, as cosign.key"+when)
	_ = cmd.MarkFlagFilename("key", "key") // fails for flags that do not exist alone
}

// load opens the key with the password of $COSIGN_PASSWORD, or asks for it.
func (o *signingKey) load(cmd *cobra.Command) (*bundle.Key, error) {
	text, err := readBounded(o.file, maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("--key: %w", err)
	}
	password, err := o.password(cmd)
	if err != nil {
		return nil, fmt.Errorf("--key %s: %w", o.file, err)
	}
	defer clear(password)
	key, err := bundle.LoadKey(text, password)
	if err != nil {
		return nil, fmt.Errorf("--key %s: %w", o.file, err)
	}
	return key, nil
}

func (o *signingKey) password(cmd *cobra.Command) ([]byte, error) {
	if password, ok := os.LookupEnv(passwordVariable); ok {
		return []byte(password), nil
	}
	tty, done := openTerminal(cmd.InOrStdin())
	if tty == nil {
		return nil, errors.New("there is no terminal to ask for its password: set " + passwordVariable)
	}
	defer done()
	stderr := cmd.ErrOrStderr()
	fmt.Fprintf(stderr, "Password of %s: ", report.Printable(o.file))
	password, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(stderr)
	if err != nil {
		return nil, errors.New("the password could not be read")
	}
	return password, nil
}

// policyPush holds the flags of `gitgate policy push`.
type policyPush struct {
	registryFlags
	policyDialect
	key  signingKey
	sign bool
}

func newPolicyPushCommand() *cobra.Command {
	var o policyPush
	cmd := &cobra.Command{
		Use:   "push BUNDLE REF",
		Short: "Push a bundle of policies to a registry",
		Long: `Push a bundle to an OCI registry, under a tag, and print the reference to use: the one
with its digest. It has the media types that OPA and conftest read. What does not load
is not pushed. With --sign what was pushed is signed as well, by its digest.

Credentials come from the docker configuration, as for docker and cosign. Plain HTTP
is refused.

Exit codes: 0 pushed, 2 wrong use or a bundle that does not load, 3 the registry is
unavailable or does not take it.`,
		Example: `  gitgate policy build rules/
  gitgate policy push bundle.tar.gz ghcr.io/acme/policies:1.4 --sign --key cosign.key`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0], args[1]) },
	}
	o.registryFlags.flags(cmd)
	o.policyDialect.flags(cmd, "default: what the bundle says")
	o.key.flag(cmd, ", with --sign")
	cmd.Flags().BoolVar(&o.sign, "sign", false, "sign what was pushed")
	cmd.MarkFlagsRequiredTogether("sign", "key")
	return cmd
}

func (o *policyPush) run(cmd *cobra.Command, file, ref string) error {
	if _, pinned, err := image.Parse(ref); err != nil || pinned != "" {
		return fmt.Errorf("%s: name a repository and a tag to push to: the digest comes of the bundle", report.Printable(ref))
	}
	raw, err := readBounded(file, maxBundleFile)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	manifest, err := loadsAsBundle(ctx, raw, o.dialect())
	if err != nil {
		return printable(fmt.Errorf("%s: %w", file, err))
	}
	verifier, err := o.open()
	if err != nil {
		return err
	}
	var key *bundle.Key
	if o.sign { // before anything is pushed
		if key, err = o.key.load(cmd); err != nil {
			return err
		}
	}
	digest, err := bundle.Push(ctx, verifier, ref, raw, manifest.Revision)
	if err != nil {
		return registryExit(err)
	}
	pinned := ref + "@" + digest
	if o.sign {
		if _, err := bundle.Sign(ctx, verifier, pinned, key); err != nil {
			return registryExit(fmt.Errorf("%s is pushed, and not signed: %w", report.Printable(pinned), err))
		}
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), report.Printable(pinned))
	return err
}

// open opens registries for whoever trusts nobody.
func (o *registryFlags) open() (*image.Verifier, error) {
	var c image.Config
	if err := o.reach(&c); err != nil {
		return nil, err
	}
	return image.NewVerifier(c)
}

// loadsAsBundle reads a bundle and compiles it, as the cluster would.
func loadsAsBundle(ctx context.Context, raw []byte, as policybundle.Dialect) (policybundle.Manifest, error) {
	read, err := policybundle.Read(raw, policybundle.Limits{})
	if err != nil {
		return policybundle.Manifest{}, err
	}
	set, err := read.Set("bundle", as)
	if err == nil {
		_, err = policy.Load(ctx, []policy.Set{set}, policyOptions)
	}
	return read.Manifest(), err
}

// registryExit ends a command that a registry, or what is in it, brought to an end.
func registryExit(err error) error {
	code := exitDenied
	var failure *image.Error
	if errors.As(err, &failure) {
		if failure.Undetermined {
			code = exitUndetermined
		}
	} else if !errors.Is(err, bundle.ErrNotBundle) {
		code = exitUsage
	}
	return &exitError{code: code, err: printable(err)}
}

// policySign holds the flags of `gitgate policy sign`.
type policySign struct {
	registryFlags
	key signingKey
}

func newPolicySignCommand() *cobra.Command {
	var o policySign
	cmd := &cobra.Command{
		Use:   "sign REF",
		Short: "Sign a bundle of policies in a registry",
		Long: `Sign a bundle that is in a registry, as cosign sign does with a key, and print the
reference that was signed: the one with the digest. The signature is stored beside the
bundle, as a Sigstore bundle that refers to it. Nothing is sent to a transparency log.

Give the digest that gitgate policy push printed: a tag is whatever the registry makes
of it. What is no bundle is not signed.

The password of the private key is that of $COSIGN_PASSWORD, or is asked for.

Exit codes: 0 signed, 1 it is no bundle, 2 wrong use, 3 the registry is unavailable or
does not take the signature.`,
		Example: `  cosign generate-key-pair
  gitgate policy sign ghcr.io/acme/policies@sha256:… --key cosign.key`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.registryFlags.flags(cmd)
	o.key.flag(cmd, "")
	_ = cmd.MarkFlagRequired("key") // fails for flags that do not exist alone
	return cmd
}

func (o *policySign) run(cmd *cobra.Command, ref string) error {
	verifier, err := o.open()
	if err != nil {
		return err
	}
	_, pinned, err := image.Parse(ref)
	if err != nil {
		return fmt.Errorf("%s: %w", report.Printable(ref), err)
	}
	key, err := o.key.load(cmd)
	if err != nil {
		return err
	}
	digest, err := bundle.Sign(cmd.Context(), verifier, ref, key)
	if err != nil {
		return registryExit(err)
	}
	if pinned == "" {
		ref += "@" + digest
		fmt.Fprintf(cmd.ErrOrStderr(), "gitgate: signed what the tag names now: give the digest that was pushed to be sure of it\n")
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), report.Printable(ref))
	return err
}
