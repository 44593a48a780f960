package webhook_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gitgate.dev/gitgate/webhook/certs"
)

// An issuer is a certificate authority of a test.
type issuer struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return &issuer{t, cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue signs a certificate in PEM: for 127.0.0.1 and dns, with usage.
func (i *issuer) issue(name string, usage x509.ExtKeyUsage, dns ...string) (cert, key []byte) {
	i.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(i.t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: dns,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, i.cert, private.Public(), i.key)
	must(i.t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	must(i.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// client is a certificate to present.
func (i *issuer) client(name string, dns ...string) tls.Certificate {
	i.t.Helper()
	pair, err := tls.X509KeyPair(i.issue(name, x509.ExtKeyUsageClientAuth, dns...))
	must(i.t, err)
	return pair
}

// files puts the certificate of a server into files, and returns it as a source.
func (i *issuer) files() *certs.Files {
	i.t.Helper()
	cert, key := i.issue("webhook", x509.ExtKeyUsageServerAuth)
	f, err := certs.NewFiles(certs.FilesConfig{
		Cert: i.write("tls.crt", cert), Key: i.write("tls.key", key), CA: i.write("ca.crt", i.pem),
	})
	must(i.t, err)
	return f
}

// write puts data into a file and returns its path.
func (i *issuer) write(name string, data []byte) string {
	path := filepath.Join(i.t.TempDir(), name)
	must(i.t, os.WriteFile(path, data, 0o600))
	return path
}
