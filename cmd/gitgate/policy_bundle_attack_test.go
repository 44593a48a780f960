package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/verify/bundle"
	"gitgate.dev/gitgate/verify/image"
)

// An archived is an entry of an archive: a file, or a link.
type archived struct{ name, content, link string }

// signed puts an archive that nobody checked into the registry, signed with the key
// of the workshop: whom we trust may err, or be forced.
func (w *workshop) signed(tag string, entries ...archived) string {
	w.t.Helper()
	var raw bytes.Buffer
	zip := gzip.NewWriter(&raw)
	archive := tar.NewWriter(zip)
	for _, e := range entries {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: 0o644, Size: int64(len(e.content))}
		if e.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		}
		if err := archive.WriteHeader(h); err != nil {
			w.t.Fatal(err)
		}
		if _, err := archive.Write([]byte(e.content)); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		w.t.Fatal(err)
	}
	verifier, err := image.NewVerifier(image.Config{LoopbackHTTP: true})
	if err != nil {
		w.t.Fatal(err)
	}
	private, err := os.ReadFile("cosign.key")
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := bundle.LoadKey(private, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	ref := w.reg.Name("acme/policies:" + tag)
	digest, err := bundle.Push(w.t.Context(), verifier, ref, raw.Bytes(), "")
	if err == nil {
		_, err = bundle.Sign(w.t.Context(), verifier, ref+"@"+digest, key)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return ref
}

// refusesBundle wants a signed bundle refused, and what was pulled before left alone.
func refusesBundle(t *testing.T, says map[string]string, bad map[string][]archived) {
	t.Helper()
	w := newWorkshop(t, registry.Options{})
	w.ok("build", "rules")
	w.ok("pull", w.ok("push", "bundle.tar.gz", w.reg.Name("acme/policies:good"), "--sign", "--key", "cosign.key"), "--key", "cosign.pub")
	before := w.files(".")
	for tag, entries := range bad {
		w.refuses(exitDenied, says[tag], "pull", w.signed(tag, entries...), "--key", "cosign.pub", "--force")
		w.refuses(exitDenied, says[tag], "pull", w.signed(tag, entries...), "--key", "cosign.pub", "-o", "new.tar.gz")
	}
	if after := w.files("."); strings.Join(before, " ") != strings.Join(after, " ") {
		t.Errorf("%v were there, and now %v", before, after)
	}
	if raw, err := os.ReadFile("policy/team.rego"); err != nil || string(raw) != bundledRule {
		t.Errorf("what was pulled before is not as it was: %s (%v)", raw, err)
	}
}

func TestAttack_P2_PulledPaths(t *testing.T) {
	refusesBundle(t, map[string]string{"up": "leaves the bundle", "absolute": "not clean", "inside": "leaves the bundle"}, map[string][]archived{
		"up":       {{"../../escaped.rego", bundledRule, ""}},
		"absolute": {{"//tmp/escaped.rego", bundledRule, ""}},
		"inside":   {{"rules/../../escaped.rego", bundledRule, ""}},
	})
}

func TestAttack_P1_PulledLinks(t *testing.T) {
	refusesBundle(t, map[string]string{"link": "out: a link"}, map[string][]archived{
		"link": {{"out", "", "/tmp"}, {"out/escaped.rego", bundledRule, ""}},
	})
}

func TestAttack_O3_PulledBomb(t *testing.T) {
	refusesBundle(t, map[string]string{"bomb": "unpack to more than"}, map[string][]archived{
		"bomb": {{"a.rego", bundledRule, ""}, {"bomb.rego", strings.Repeat("#", 7<<20), ""}},
	})
}

func TestAttack_O7_PulledRules(t *testing.T) {
	refusesBundle(t, map[string]string{"pattern": "missing closing )", "shadow": "data.json at data.acme.deny", "syntax": "a.rego:2", "network": "http.send", "silent": "deny", "roots": "do not cover"}, map[string][]archived{
		"pattern": {{"a.rego", "package acme\n\ndeny contains \"x\" if regex.match(\"(\", input.object.kind)\n", ""}},
		"shadow":  {{"a.rego", bundledRule, ""}, {"data.json", `{"acme": {"deny": []}}`, ""}},
		"syntax":  {{"a.rego", "package acme\ndeny contains", ""}},
		"network": {{"a.rego", "package acme\ndeny contains http.send({}).body", ""}},
		"silent":  {{"a.rego", "package acme\ndenied contains \"x\"", ""}},
		"roots":   {{"a.rego", bundledRule, ""}, {".manifest", `{"roots": ["other"]}`, ""}},
	})
}

// TestPolicyBundleRefusals are the ends of push, sign and pull that are no success.
func TestPolicyBundleRefusals(t *testing.T) {
	w := newWorkshop(t, registry.Options{})
	w.ok("build", "rules")
	ref := w.reg.Name("acme/policies:1")
	pinned := w.ok("push", "bundle.tar.gz", ref)
	i, err := w.reg.PushImage("acme/app:1")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("cosign.pub")
	if err != nil {
		t.Fatal(err)
	}
	public := strings.ReplaceAll(strings.TrimSpace(string(raw)), "\n", "\n            ")
	trust := "apiVersion: gitgate.dev/v1alpha1\nkind: TrustPolicy\nmetadata: {name: t}\nspec:\n  images:\n    rules:\n    - match: [\"" + w.reg.Host() + "/**\"]\n"
	w.write("trust.yaml", trust+"      authorities:\n      - name: security\n        key:\n          data: |\n            "+public+"\n")
	w.write("static.yaml", trust+"      static: Allow\n")
	w.write("bad.tar.gz", "no bundle")
	w.write("broken/a.rego", "package a\ndeny[")

	pull, key := []string{"pull", ref}, []string{"--key", "cosign.pub"}
	for name, tc := range map[string]struct {
		code int
		says string
		args []string
	}{
		"Unsigned":     {exitDenied, "ImageUnsigned", append(pull, key...)},
		"StaticTrust":  {exitDenied, "not as a policy bundle", append(pull, "--trust", "static.yaml")},
		"NoTrust":      {exitUsage, "key trust", pull},
		"BothTrusts":   {exitUsage, "none of the others", append(pull, "--key", "cosign.pub", "--trust", "trust.yaml")},
		"PullDown":     {exitUndetermined, "refused", append([]string{"pull", "127.0.0.1:1/acme/p:1"}, key...)},
		"NoTag":        {exitUndetermined, "push the image", append([]string{"pull", w.reg.Name("acme/policies:none")}, key...)},
		"PrivateKey":   {exitUsage, "never a private key", append(pull, "--key", "cosign.key")},
		"TwoRefs":      {exitUsage, "accepts 1 arg", append(append(pull, ref), key...)},
		"NotReference": {exitUsage, "is not valid", append([]string{"pull", "Not/A:Ref!"}, key...)},

		"SignImage":    {exitDenied, "not application/vnd.oci.image.layer", []string{"sign", i.Pinned(), "--key", "cosign.key"}},
		"SignPublic":   {exitUsage, "a public key cannot sign", []string{"sign", pinned, "--key", "cosign.pub"}},
		"SignNoKey":    {exitUsage, "key", []string{"sign", pinned}},
		"SignNoFile":   {exitUsage, "no such file", []string{"sign", pinned, "--key", "none.key"}},
		"SignDown":     {exitUndetermined, "refused", []string{"sign", "127.0.0.1:1/acme/p:1", "--key", "cosign.key"}},
		"SignNothing":  {exitUndetermined, "does not have", []string{"sign", w.reg.Name("acme/policies:none"), "--key", "cosign.key"}},
		"SignNotARef":  {exitUsage, "is not valid", []string{"sign", "Not/A:Ref!", "--key", "cosign.key"}},
		"PushDigest":   {exitUsage, "a tag to push to", []string{"push", "bundle.tar.gz", pinned}},
		"PushNotARef":  {exitUsage, "a tag to push to", []string{"push", "bundle.tar.gz", "Not/A:Ref!"}},
		"PushNoBundle": {exitUsage, "not a gzipped archive", []string{"push", "bad.tar.gz", ref}},
		"PushNoFile":   {exitUsage, "no such file", []string{"push", "none.tar.gz", ref}},
		"PushDown":     {exitUndetermined, "refused", []string{"push", "bundle.tar.gz", "127.0.0.1:1/acme/p:1"}},
		"PushHalf":     {exitUsage, "sign", []string{"push", "bundle.tar.gz", ref, "--key", "cosign.key"}},
		"PushPublic":   {exitUsage, "a public key cannot sign", []string{"push", "bundle.tar.gz", w.reg.Name("acme/never:1"), "--sign", "--key", "cosign.pub"}},

		"EvalNoBundle": {exitUsage, "bad.tar.gz: bundle: not a gzipped archive", []string{"eval", "web.yaml", "--policy", "bad.tar.gz"}},

		"BuildBroken": {exitUsage, "a.rego:2", []string{"build", "broken", "-o", "new.tar.gz"}},
		"BuildNoDir":  {exitUsage, "no such file", []string{"build", "none"}},
		"BuildFile":   {exitUsage, "web.yaml", []string{"build", "web.yaml"}},
		"BuildFormat": {exitUsage, "Kyverno", []string{"build", "rules", "--format", "Kyverno"}},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			w.refuses(tc.code, tc.says, tc.args...)
		})
	}
	w.t = t
	if n := w.reg.Count("acme/never"); n > 0 {
		t.Errorf("%d requests for a bundle whose key does not sign", n)
	}
	if code := run(append([]string{"policy"}, append(pull, key...)...), strings.NewReader(""), io.Discard, io.Discard); code != exitUndetermined {
		t.Errorf("plain HTTP: exit code %d", code)
	}
	t.Setenv(passwordVariable, "canary-password")
	code, stdout, stderr := w.gitgate("sign", pinned, "--key", "cosign.key")
	if code != exitUsage || !strings.Contains(stderr, "the password is wrong") || strings.Contains(stdout+stderr, "canary") {
		t.Errorf("a wrong password: exit code %d\n%s%s", code, stdout, stderr)
	}
	if _, err := os.Stat("policy"); err == nil {
		t.Error("something was pulled")
	}
	t.Setenv(passwordVariable, "")
	code, stdout, stderr = w.gitgate("sign", ref, "--key", "cosign.key")
	if code != exitAllowed || strings.TrimSpace(stdout) != pinned || !strings.Contains(stderr, "what the tag names now") {
		t.Errorf("signing a tag: exit code %d\n%s%s", code, stdout, stderr)
	}
	if got := w.ok("pull", ref, "--trust", "trust.yaml"); !strings.Contains(got, "signed by security") {
		t.Errorf("pull says %q", got)
	}
}
