package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/breakglass"
)

// breakGlassSign holds the flags of gitgate breakglass sign.
type breakGlassSign struct {
	key         string
	certificate string
	add         string
	payload     bool
	yes         bool
}

func newBreakGlassSignCommand() *cobra.Command {
	var o breakGlassSign
	cmd := &cobra.Command{
		Use:   "sign FILE",
		Short: "Show a grant and add a signature to it",
		Long: `Sign shows what a grant opens, asks on the terminal, and adds a signature to the
file. It asks no cluster.

The key is a private SSH key file, whose passphrase is asked for on the terminal,
or a public key or certificate whose private key ssh-agent has. Without --key the
only key in ssh-agent signs.

With OpenSSH alone it goes like this:

  gitgate breakglass sign --payload FILE >payload
  ssh-keygen -Y sign -n gitgate-breakglass -f ~/.ssh/id_ed25519 payload
  gitgate breakglass sign --add payload.sig FILE

Exit codes: 0 signed, 1 not confirmed, 2 wrong use or input.`,
		Example: `  gitgate breakglass sign inc-17.yaml --key ~/.ssh/id_ed25519
  gitgate breakglass sign inc-17.yaml --key ~/.ssh/id_ed25519_sk.pub    # the key is in ssh-agent`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(args[0], cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.key, "key", "", "`file` with a private key, or with a public one that ssh-agent has")
	f.StringVar(&o.certificate, "certificate", "", "`file` with the certificate of the private key, for a cert-authority")
	f.StringVar(&o.add, "add", "", "`file` with a signature that ssh-keygen made; nothing is signed")
	f.BoolVar(&o.payload, "payload", false, "print what is to be signed and end")
	f.BoolVar(&o.yes, "yes", false, "do not ask: you have read what you sign")
	cmd.MarkFlagsMutuallyExclusive("payload", "add", "key")
	cmd.MarkFlagsMutuallyExclusive("payload", "add", "certificate")
	return cmd
}

func (o *breakGlassSign) run(file string, stdin io.Reader, stdout, stderr io.Writer) error {
	g, err := readGrant(file, stdin)
	if err != nil {
		return err
	}
	payload, err := grantPayload(file, g)
	switch {
	case err != nil:
		return err
	case o.payload:
		_, err := stdout.Write(payload)
		return err
	case !time.Now().Before(g.Spec.Grant.Expiry.Time):
		return fmt.Errorf("%s: the grant expired at %s: request another", file, g.Spec.Grant.Expiry.UTC().Format(time.RFC3339))
	case g.Spec.Revoked:
		return fmt.Errorf("%s: the grant is revoked: request another", file)
	}
	var armored string
	if o.add != "" {
		armored, err = o.readSignature(payload)
	} else {
		armored, err = o.sign(file, payload, &g.Spec.Grant, stdin, stderr)
	}
	if err != nil {
		return err
	}
	key := signatureKey(armored)
	if slices.ContainsFunc(g.Spec.Signatures, func(s v1alpha1.BreakGlassSignature) bool { return signatureKey(s.SSH) == key }) {
		return fmt.Errorf("%s: key %s has signed it already: another person must", file, key)
	}
	g.Spec.Signatures = append(g.Spec.Signatures, v1alpha1.BreakGlassSignature{SSH: armored})
	if err := writeGrant(file, stdout, g); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "Signed by key %s; the grant has %s now.\n", key, plural(len(g.Spec.Signatures), "signature"))
	return nil
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// readSignature reads what ssh-keygen wrote.
func (o *breakGlassSign) readSignature(payload []byte) (string, error) {
	raw, err := readBounded(o.add, maxKeyFile)
	if err != nil {
		return "", fmt.Errorf("--add: %w", err)
	}
	if err := checkGrantSignature(string(raw), payload); err != nil {
		return "", fmt.Errorf("--add %s: %w; sign what --payload prints, with ssh-keygen -Y sign -n %s", o.add, err, breakglass.Namespace)
	}
	return string(raw), nil
}

func (o *breakGlassSign) sign(file string, payload []byte, g *v1alpha1.BreakGlassGrant, stdin io.Reader, stderr io.Writer) (string, error) {
	keys := sshKeyring{file: o.key, certificate: o.certificate, socket: os.Getenv("SSH_AUTH_SOCK"), stdin: stdin, stderr: stderr}
	signer, closer, err := keys.signer()
	if err != nil {
		return "", err
	}
	defer closer.Close()
	showGrant(stderr, payload, g, time.Now())
	if !o.yes {
		agreed, err := confirm(stdin, stderr, fmt.Sprintf("Sign it with key %s? [y/N] ", keyFingerprint(signer.PublicKey())))
		if err != nil {
			return "", err
		}
		if !agreed {
			return "", &exitError{code: exitDenied, err: fmt.Errorf("%s: not signed", file)}
		}
	}
	return signGrant(signer, payload)
}

// showGrant shows every byte that is to be signed, and what it amounts to. A
// payload holds nothing that could steer a terminal.
func showGrant(w io.Writer, payload []byte, g *v1alpha1.BreakGlassGrant, now time.Time) {
	fmt.Fprintln(w, "You are about to sign:")
	for line := range bytes.Lines(payload) {
		fmt.Fprintf(w, "  %s", line)
	}
	if begin := g.NotBefore.Sub(now); begin > 0 {
		fmt.Fprintf(w, "It begins in %s and counts for %s.\n", begin.Round(time.Second), g.Expiry.Sub(g.NotBefore.Time))
	} else {
		fmt.Fprintf(w, "It ends in %s.\n", g.Expiry.Sub(now).Round(time.Second))
	}
	for _, note := range grantNotes(g) {
		fmt.Fprintf(w, "Note: %s.\n", note)
	}
}

// confirm asks on the terminal. Only a plain yes is one.
func confirm(stdin io.Reader, stderr io.Writer, question string) (bool, error) {
	tty, done := openTerminal(stdin)
	if tty == nil {
		return false, errors.New("there is no terminal to ask on: read what --payload prints, and give --yes")
	}
	defer done()
	fmt.Fprint(stderr, question)
	answer, _ := bufio.NewReader(io.LimitReader(tty, 64)).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

func keyFingerprint(public ssh.PublicKey) string {
	if cert, ok := public.(*ssh.Certificate); ok {
		public = cert.Key
	}
	return ssh.FingerprintSHA256(public)
}

// signatureKey is the fingerprint of the key that a signature claims.
func signatureKey(armored string) string {
	sig, err := sshsig.Unarmor([]byte(armored))
	if err != nil {
		return "unknown"
	}
	return keyFingerprint(sig.PublicKey)
}
