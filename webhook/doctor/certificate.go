package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	arv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/webhook/registration"
)

const (
	dialLimit      = 5 * time.Second
	maxCertificate = 1 << 20 // bytes of PEM
	authorityKey   = "ca.crt"
)

// certificate checks what the webhook serves against what the API server was told
// to trust.
func (d *doctor) certificate(ctx context.Context) []Check {
	const id = "webhook-certificate"
	config, err := d.configuration(ctx)
	if absent(err) || err == nil && len(config.Webhooks) == 0 {
		return []Check{{ID: id, Status: Warn, Message: "the API server was not told what to trust yet: there is no ValidatingWebhookConfiguration " + registration.Name}}
	}
	if err != nil {
		return []Check{unknown(id, "ValidatingWebhookConfigurations", err)}
	}
	var out []Check
	seen := map[string]bool{}
	for _, w := range config.Webhooks {
		cc := w.ClientConfig
		if key := fmt.Sprint(target(cc), string(cc.CABundle)); !seen[key] {
			seen[key] = true
			out = append(out, d.served(ctx, id, cc))
		}
	}
	return out
}

func target(cc arv1.WebhookClientConfig) string {
	if cc.URL != nil {
		return *cc.URL
	}
	if cc.Service == nil {
		return ""
	}
	return cc.Service.Name + "." + cc.Service.Namespace + ".svc"
}

// served gets the certificates that a client is shown: from the server itself where
// the API server is told a URL, which this machine may be able to reach too, and
// else from the Secret that the server takes them from.
func (d *doctor) served(ctx context.Context, id string, cc arv1.WebhookClientConfig) Check {
	if cc.URL == nil && cc.Service == nil {
		return Check{ID: id, Status: Fail, Message: "the configuration names neither a Service nor a URL", Advice: "see that gitgate webhook runs: it restores it"}
	}
	var secret corev1.Secret
	err := d.client.Get(ctx, client.ObjectKey{Namespace: d.Namespace, Name: certificateName}, &secret)
	if err != nil && (cc.URL == nil || !absent(err)) { // with a URL the certificate may come from anywhere
		return unknown(id, "Secret "+d.Namespace+"/"+certificateName, err)
	}
	if ours := secret.Data[authorityKey]; len(ours) > 0 && !bytes.Equal(bytes.TrimSpace(ours), bytes.TrimSpace(cc.CABundle)) {
		return Check{ID: id, Status: Fail, Message: "the API server is told to trust another authority than the one in Secret " + d.Namespace + "/" + certificateName,
			Advice: "gitgate webhook restores it within seconds: see that it runs, and find out who changed it"}
	}
	if cc.URL != nil {
		host, chain, err := dial(ctx, *cc.URL)
		if err != nil {
			return unknown(id, "the certificate at "+clean(*cc.URL), err)
		}
		return d.judge(id, host, chain, cc.CABundle)
	}
	chain, err := certificates(secret.Data[corev1.TLSCertKey])
	if err != nil {
		return Check{ID: id, Status: Fail, Message: fmt.Sprintf("Secret %s/%s holds no certificate: %v", d.Namespace, certificateName, err),
			Advice: "delete the Secret: gitgate webhook makes it anew"}
	}
	return d.judge(id, target(cc), chain, cc.CABundle)
}

// dial shakes hands and takes what is shown, whatever it is: judging comes after.
func dial(ctx context.Context, address string) (host string, chain []*x509.Certificate, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", nil, errors.New("the URL cannot be read")
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return "", nil, err
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}) // judged by judge
	if err := conn.HandshakeContext(ctx); err != nil {
		return "", nil, err
	}
	return u.Hostname(), conn.ConnectionState().PeerCertificates, nil
}

// certificates reads a PEM chain.
func certificates(data []byte) ([]*x509.Certificate, error) {
	if len(data) > maxCertificate {
		return nil, fmt.Errorf("%d bytes are too many", len(data))
	}
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("no PEM block of type CERTIFICATE")
	}
	return out, nil
}

// judge verifies as the API server does, and tells how long that will go on.
func (d *doctor) judge(id, host string, chain []*x509.Certificate, bundle []byte) Check {
	c := Check{ID: id, Advice: "gitgate webhook renews its certificate and the caBundle by itself: see its log; with cert-manager see its Certificate"}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		c.Status, c.Message = Fail, "the caBundle holds no certificate: the API server cannot trust the webhook"
		return c
	}
	for _, i := range chain[1:] {
		intermediates.AddCert(i)
	}
	leaf, now := chain[0], d.Now()
	left, life := leaf.NotAfter.Sub(now), leaf.NotAfter.Sub(leaf.NotBefore)
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: intermediates, CurrentTime: now})
	switch {
	case left < 0:
		c.Status, c.Message = Fail, fmt.Sprintf("the serving certificate ended %s ago: the API server refuses it, and with it every write", age(-left))
	case err != nil:
		c.Status, c.Message = Fail, "the API server cannot verify the serving certificate by the caBundle: "+clean(err.Error())
	case left < life/6: // renewed after two thirds
		c.Status, c.Message = Warn, fmt.Sprintf("the serving certificate ends in %s and was not renewed", age(left))
	default:
		c.Status, c.Advice = OK, ""
		c.Message = fmt.Sprintf("the serving certificate is %s old, ends in %s and is verified by the caBundle", age(now.Sub(leaf.NotBefore)), age(left))
	}
	return c
}

// age tells a duration as people do.
func age(d time.Duration) string {
	switch {
	case d > 72*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d > 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return d.Round(time.Second).String()
}
