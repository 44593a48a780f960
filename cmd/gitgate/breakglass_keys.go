package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/term"

	"gitgate.dev/gitgate/verify/commit"
	"gitgate.dev/gitgate/webhook/breakglass"
)

// A sshKeyring finds the key to sign with.
type sshKeyring struct {
	file, certificate string // flags
	socket            string // of ssh-agent
	stdin             io.Reader
	stderr            io.Writer
}

// signer returns the key and what to close when it was used.
func (k *sshKeyring) signer() (ssh.Signer, io.Closer, error) {
	if k.file == "" {
		return k.fromAgent(nil)
	}
	raw, err := readBounded(k.file, maxKeyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("--key: %w", err)
	}
	if public, _, _, _, err := ssh.ParseAuthorizedKey(raw); err == nil {
		return k.fromAgent(public)
	}
	signer, err := ssh.ParsePrivateKey(raw)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		signer, err = k.unlock(raw)
	}
	switch {
	case err != nil && strings.Contains(err.Error(), "sk-"):
		return nil, nil, fmt.Errorf("--key %s: is of a security key: add it to ssh-agent and give %s.pub, or sign with ssh-keygen and --add", k.file, k.file)
	case err != nil:
		return nil, nil, fmt.Errorf("--key %s: no private or public SSH key: %w", k.file, err)
	case k.certificate == "":
		return signer, io.NopCloser(nil), nil
	}
	raw, err = readBounded(k.certificate, maxKeyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("--certificate: %w", err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(raw)
	cert, ok := public.(*ssh.Certificate)
	if err != nil || !ok {
		return nil, nil, fmt.Errorf("--certificate %s: no SSH certificate", k.certificate)
	}
	if signer, err = ssh.NewCertSigner(cert, signer); err != nil {
		return nil, nil, fmt.Errorf("--certificate %s: it is not of the key %s", k.certificate, k.file)
	}
	return signer, io.NopCloser(nil), nil
}

// unlock asks for the passphrase of a key, on the terminal alone.
func (k *sshKeyring) unlock(raw []byte) (ssh.Signer, error) {
	tty, done := openTerminal(k.stdin)
	if tty == nil {
		return nil, errors.New("it has a passphrase, and there is no terminal to ask for it: add it to ssh-agent, and give the public key")
	}
	defer done()
	const tries = 3
	for range tries {
		fmt.Fprintf(k.stderr, "Passphrase of %s: ", k.file)
		passphrase, err := term.ReadPassword(int(tty.Fd()))
		fmt.Fprintln(k.stderr)
		if err != nil {
			return nil, errors.New("the passphrase could not be read")
		}
		signer, err := ssh.ParsePrivateKeyWithPassphrase(raw, passphrase)
		clear(passphrase)
		if err == nil {
			return signer, nil
		}
		fmt.Fprintln(k.stderr, "This is not its passphrase.")
	}
	return nil, errors.New("three wrong passphrases")
}

// openTerminal returns standard input if a person types there, the terminal of the
// process otherwise, or nil.
func openTerminal(stdin io.Reader) (tty *os.File, done func()) {
	if f, ok := stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f, func() {}
	}
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, nil
	}
	return f, func() { f.Close() }
}

// fromAgent finds a key in ssh-agent; without a public key the only one.
func (k *sshKeyring) fromAgent(public ssh.PublicKey) (ssh.Signer, io.Closer, error) {
	if k.certificate != "" {
		return nil, nil, errors.New("--certificate: with ssh-agent give the certificate as --key")
	}
	if k.socket == "" {
		return nil, nil, errors.New("no key: give a private key as --key, or start ssh-agent (SSH_AUTH_SOCK is not set)")
	}
	conn, err := net.Dial("unix", k.socket)
	if err != nil {
		return nil, nil, fmt.Errorf("ssh-agent: %w", err)
	}
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("ssh-agent: %w", err)
	}
	var names []string
	for _, s := range signers {
		if public == nil && len(signers) == 1 || public != nil && bytes.Equal(s.PublicKey().Marshal(), public.Marshal()) {
			return s, conn, nil
		}
		names = append(names, ssh.FingerprintSHA256(s.PublicKey()))
	}
	conn.Close()
	switch {
	case public != nil:
		return nil, nil, fmt.Errorf("--key %s: ssh-agent does not have this key: ssh-add it", k.file)
	case len(names) == 0:
		return nil, nil, errors.New("ssh-agent has no key: ssh-add one, or give --key")
	}
	return nil, nil, fmt.Errorf("ssh-agent has several keys (%s): give the public one as --key", strings.Join(names, ", "))
}

// signGrant signs a payload, and verifies the signature by the rules of the webhook
// before anybody relies on it.
func signGrant(signer ssh.Signer, payload []byte) (string, error) {
	sig, err := sshsig.Sign(bytes.NewReader(payload), signer, sshsig.HashSHA512, breakglass.Namespace)
	if err != nil {
		return "", fmt.Errorf("the key does not sign: %w", err)
	}
	armored := string(sshsig.Armor(sig))
	return armored, checkGrantSignature(armored, payload)
}

// checkGrantSignature says why a signature could count for nobody.
func checkGrantSignature(armored string, payload []byte) error {
	sig, err := sshsig.Unarmor([]byte(armored))
	if err != nil {
		return fmt.Errorf("no SSH signature: %w", err)
	}
	line := "self " + string(ssh.MarshalAuthorizedKey(sig.PublicKey))
	if cert, ok := sig.PublicKey.(*ssh.Certificate); ok {
		line = "* cert-authority " + string(ssh.MarshalAuthorizedKey(cert.SignatureKey))
	}
	signers, err := commit.NewSSHSigners("key", line, breakglass.Namespace)
	if err != nil {
		return err
	}
	_, err = signers.Verify(armored, payload)
	return err
}
