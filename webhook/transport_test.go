package webhook_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/webhook"
	"gitgate.dev/gitgate/webhook/lock"
)

// A lone server has no API server before it.
type lone struct {
	t       testing.TB
	ca      *issuer
	url     string
	decider *script
	server  *webhook.Server
}

func newLone(t testing.TB, change func(*webhook.Config, *issuer)) *lone {
	t.Helper()
	l := &lone{t: t, ca: newIssuer(t), decider: &script{}}
	l.decider.set(allow)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	l.url = "https://" + listener.Addr().String()
	c := webhook.Config{Listener: listener, Certificates: l.ca.files(), Decider: l.decider}
	if change != nil {
		change(&c, l.ca)
	}
	l.server, err = webhook.New(c)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.server.Start(ctx); err != nil {
			t.Errorf("the server ended: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return l
}

// client trusts the server; change may spoil it.
func (l *lone) client(change func(*tls.Config)) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(l.ca.cert)
	c := &tls.Config{RootCAs: roots}
	if change != nil {
		change(c)
	}
	tr := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true, DisableCompression: true}
	l.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

// review returns an AdmissionReview in which object is created.
func review(object string) string {
	return `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u-1","kind":{"group":"","version":"v1","kind":"Secret"},` +
		`"resource":{"group":"","version":"v1","resource":"secrets"},"name":"db","namespace":"shop","operation":"CREATE",` +
		`"userInfo":{"username":"eve"},"object":` + object + `,"oldObject":null,"dryRun":false,"options":null}}`
}

func (l *lone) post(c *http.Client, body string) (int, admissionv1.AdmissionReview, error) {
	l.t.Helper()
	resp, err := c.Post(l.url+webhook.Path, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, admissionv1.AdmissionReview{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	must(l.t, err)
	var out admissionv1.AdmissionReview
	if resp.StatusCode == http.StatusOK {
		must(l.t, json.Unmarshal(data, &out))
	} else if len(data) > 0 {
		l.t.Errorf("a refusal says %q; strangers are told nothing", data)
	}
	return resp.StatusCode, out, nil
}

// TestAttack_K23 posts reviews directly, as a Pod could.
func TestAttack_K23(t *testing.T) {
	t.Parallel()
	t.Run("TLS1.2", func(t *testing.T) {
		l := newLone(t, nil)
		_, _, err := l.post(l.client(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), review("{}"))
		if err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("TLS 1.2: %v, want a refusal of the protocol version", err)
		}
	})
	t.Run("PlainHTTP", func(t *testing.T) {
		l := newLone(t, nil)
		resp, err := http.Post(strings.Replace(l.url, "https", "http", 1)+webhook.Path, "application/json", strings.NewReader(review("{}")))
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("plain HTTP: %s", resp.Status)
			}
		}
		if l.decider.seen.Load() != 0 {
			t.Error("plain HTTP was judged")
		}
	})
	t.Run("ClientCertificate", func(t *testing.T) {
		l := newLone(t, func(c *webhook.Config, ca *issuer) {
			c.ClientCA, c.ClientNames = ca.write("client-ca.crt", ca.pem), []string{"kube-apiserver", "apiserver.example.com"}
		})
		with := func(certs ...tls.Certificate) *http.Client {
			return l.client(func(c *tls.Config) { c.Certificates = certs })
		}
		server, key := l.ca.issue("kube-apiserver", x509.ExtKeyUsageServerAuth)
		wrongUse, err := tls.X509KeyPair(server, key)
		must(t, err)
		for name, tc := range map[string]struct {
			client *http.Client
			want   bool
		}{
			"CommonName": {with(l.ca.client("kube-apiserver")), true},
			"DNSName":    {with(l.ca.client("x", "apiserver.example.com")), true},
			"None":       {with(), false},
			"OtherName":  {with(l.ca.client("system:node:n1")), false},
			"NearlyName": {with(l.ca.client("kube-apiserver2", "xapiserver.example.com")), false},
			"OtherCA":    {with(newIssuer(t).client("kube-apiserver")), false},
			"OtherUse":   {with(wrongUse), false},
		} {
			before := l.decider.seen.Load()
			code, _, err := l.post(tc.client, review("{}"))
			if tc.want != (err == nil && code == http.StatusOK) {
				t.Errorf("K23/%s: %d %v, want admitted: %t", name, code, err, tc.want)
			}
			if !tc.want && l.decider.seen.Load() != before {
				t.Errorf("K23/%s: judged all the same", name)
			}
		}
	})
	t.Run("Oracle", func(t *testing.T) {
		l := newLone(t, nil) // without a client CA anybody may ask
		texts := map[string]bool{}
		for _, field := range []string{"data.a", "data.b"} {
			l.decider.set(func(context.Context, *admissionv1.AdmissionRequest) lock.Answer {
				return lock.Answer{Reason: verdict.ContentMismatch, Message: field + " differs", Warnings: []string{field},
					Findings: []verdict.Finding{{Severity: verdict.Deny, Field: field}}}
			})
			code, out, err := l.post(l.client(nil), review(`{"data":{}}`))
			must(t, err)
			if code != http.StatusOK || out.Response.Allowed || out.Response.Warnings != nil || out.Response.Result.Details != nil {
				t.Errorf("answer = %d %+v", code, out.Response)
			}
			texts[out.Response.Result.Message] = true
		}
		if len(texts) != 1 {
			t.Errorf("denials of Secrets differ: %v", texts)
		}
	})
}

// TestClientCertificateOfAPIServer has a real API server prove itself.
func TestClientCertificateOfAPIServer(t *testing.T) {
	t.Parallel()
	ca := newIssuer(t)
	cert, key := ca.issue("kube-apiserver", x509.ExtKeyUsageClientAuth)
	kubeconfig := ca.write("kubeconfig", fmt.Appendf(nil, `{apiVersion: v1, kind: Config, users: [{name: "127.0.0.1:*", user: {}}, {name: "*", user: {client-certificate: %q, client-key: %q}}]}`,
		ca.write("client.crt", cert), ca.write("client.key", key)))
	r := newRig(t, options{
		cluster: cluster.Options{AdmissionConfiguration: fmt.Sprintf(`
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: ValidatingAdmissionWebhook
    configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration, kubeConfigFile: %q}
`, kubeconfig)},
		webhook: func(c *webhook.Config) {
			c.ClientCA, c.ClientNames = ca.write("client-ca.crt", ca.pem), []string{"kube-apiserver"}
		},
	})
	if _, err := r.alice.CoreV1().ConfigMaps("default").Create(t.Context(), configMap("proven"), metav1.CreateOptions{}); err != nil {
		t.Errorf("the API server's certificate is not accepted: %v", err)
	}
	// Another name, and nothing passes.
	r.kill()
	listener, err := net.Listen("tcp", r.address)
	must(t, err)
	r.serve(listener, func(c *webhook.Config) {
		c.ClientCA, c.ClientNames = ca.write("client-ca.crt", ca.pem), []string{"another"}
	})
	_, err = r.alice.CoreV1().ConfigMaps("default").Create(t.Context(), configMap("stranger"), metav1.CreateOptions{})
	if err == nil || r.decider.seen.Load() == 0 {
		t.Errorf("a stranger's review was answered: %v", err)
	}
}

// TestProtocol sends what is no review. Nothing of it is judged.
func TestProtocol(t *testing.T) {
	t.Parallel()
	l := newLone(t, func(c *webhook.Config, _ *issuer) { c.Limits.Body = 1 << 20 })
	client := l.client(nil)
	good := review(`{"a":1}`)
	edit := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q in the review", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	deep := strings.Repeat("[", 600) + strings.Repeat("]", 600)
	for name, tc := range map[string]struct {
		method, path, contentType, body string
		want                            int
	}{
		"Good":            {"POST", webhook.Path, "application/json; charset=utf-8", good, 200},
		"Query":           {"POST", webhook.Path + "?timeout=5s", "application/json", good, 200},
		"GET":             {"GET", webhook.Path, "application/json", "", 405},
		"PUT":             {"PUT", webhook.Path, "application/json", good, 405},
		"Path":            {"POST", "/", "application/json", good, 404},
		"Pprof":           {"GET", "/debug/pprof/", "", "", 404},
		"Metrics":         {"GET", "/metrics", "", "", 404},
		"ContentType":     {"POST", webhook.Path, "application/yaml", good, 415},
		"NoContentType":   {"POST", webhook.Path, "", good, 415},
		"Empty":           {"POST", webhook.Path, "application/json", "", 400},
		"Garbage":         {"POST", webhook.Path, "application/json", "garbage", 400},
		"Null":            {"POST", webhook.Path, "application/json", "null", 400},
		"List":            {"POST", webhook.Path, "application/json", "[]", 400},
		"Cut":             {"POST", webhook.Path, "application/json", good[:len(good)-2], 400},
		"Trailing":        {"POST", webhook.Path, "application/json", good + "{}", 400},
		"NoRequest":       {"POST", webhook.Path, "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`, 400},
		"NullRequest":     {"POST", webhook.Path, "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":null}`, 400},
		"RequestIsString": {"POST", webhook.Path, "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":"{}"}`, 400},
		"Beta":            {"POST", webhook.Path, "application/json", edit("admission.k8s.io/v1", "admission.k8s.io/v1beta1"), 400},
		"OtherKind":       {"POST", webhook.Path, "application/json", edit("AdmissionReview", "Review"), 400},
		"NoUID":           {"POST", webhook.Path, "application/json", edit(`"u-1"`, `""`), 400},
		"NoOperation":     {"POST", webhook.Path, "application/json", edit(`"CREATE"`, `""`), 400},
		"Twice":           {"POST", webhook.Path, "application/json", edit(`"name":"db"`, `"name":"db","name":"ok"`), 400},
		"ObjectTwice":     {"POST", webhook.Path, "application/json", edit(`"oldObject":null`, `"object":{}`), 400},
		"RequestTwice":    {"POST", webhook.Path, "application/json", edit(`"kind":"AdmissionReview"`, `"request":{},"kind":"AdmissionReview"`), 400},
		"EscapedKey":      {"POST", webhook.Path, "application/json", edit(`"object"`, `"obj\u0065ct"`), 400},
		"Case":            {"POST", webhook.Path, "application/json", edit(`"uid"`, `"UID"`), 400},
		"WrongType":       {"POST", webhook.Path, "application/json", edit(`"name":"db"`, `"name":1`), 400},
		"Deep":            {"POST", webhook.Path, "application/json", review(deep), 400},
		"Large":           {"POST", webhook.Path, "application/json", review(`{"a":"` + strings.Repeat("x", 1<<20) + `"}`), 413},
	} {
		before := l.decider.seen.Load()
		req, err := http.NewRequestWithContext(t.Context(), tc.method, l.url+tc.path, strings.NewReader(tc.body))
		must(t, err)
		if tc.contentType != "" {
			req.Header.Set("Content-Type", tc.contentType)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tc.want {
			t.Errorf("%s: %s, want %d", name, resp.Status, tc.want)
		}
		judged := l.decider.seen.Load() - before
		if tc.want == 200 {
			if judged != 1 || err != nil || !bytes.Contains(data, []byte(`"uid":"u-1"`)) || !bytes.Contains(data, []byte(`"allowed":true`)) {
				t.Errorf("%s: judged %d times, answered %s", name, judged, data)
			}
		} else if judged != 0 || len(data) != 0 {
			t.Errorf("%s: judged %d times, answered %q, want neither", name, judged, data)
		}
	}
}

// TestReady is ready only with certificates and an inventory.
func TestReady(t *testing.T) {
	t.Parallel()
	synced := false
	l := newLone(t, func(c *webhook.Config, _ *issuer) { c.Ready = func() bool { return synced } })
	if l.server.CheckReady(nil) == nil {
		t.Error("ready before the inventory is synced")
	}
	synced = true
	must(t, l.server.CheckReady(nil))
}

// TestNewRefuses refuses configurations that would be weaker than they look.
func TestNewRefuses(t *testing.T) {
	ca := newIssuer(t)
	good := webhook.Config{Address: ":0", Certificates: ca.files(), Decider: &script{}}
	for name, change := range map[string]func(*webhook.Config){
		"NoDecider":      func(c *webhook.Config) { c.Decider = nil },
		"NoCertificates": func(c *webhook.Config) { c.Certificates = nil },
		"NoAddress":      func(c *webhook.Config) { c.Address = "" },
		"CAWithoutNames": func(c *webhook.Config) { c.ClientCA = ca.write("ca.crt", ca.pem) },
		"NamesWithoutCA": func(c *webhook.Config) { c.ClientNames = []string{"a"} },
		"NoSuchCA":       func(c *webhook.Config) { c.ClientCA, c.ClientNames = "/nonexistent", []string{"a"} },
		"EmptyCA":        func(c *webhook.Config) { c.ClientCA, c.ClientNames = ca.write("ca.crt", nil), []string{"a"} },
	} {
		c := good
		change(&c)
		if _, err := webhook.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := webhook.New(good); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
}
