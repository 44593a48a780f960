package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/sopskit"
)

const widgets = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, properties: {size: {type: integer, maximum: 9}}}
`

const widget = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w, namespace: shop}\nspec:\n  size: 3\n"

// TestCheckSchema: what an API server would refuse for its form is refused without
// one.
func TestCheckSchema(t *testing.T) {
	r := newCheckRepo(t)
	crds := filepath.Join(t.TempDir(), "crds.yaml")
	if err := os.WriteFile(crds, []byte(widgets), 0o600); err != nil {
		t.Fatal(err)
	}
	image := "registry.example.com/web" + digest
	for name, tc := range map[string]struct {
		reason string
		files  map[string]string
		args   []string
		code   int
		want   []string
	}{
		"Unknown": {
			reason: "A field that does not exist.",
			files:  map[string]string{"app/web.yaml": webManifest(image, "  replica: 2\n")},
			code:   exitDenied, want: []string{"deny apply SchemaInvalid app/web.yaml:7"},
		},
		"Type": {
			reason: "A value of the wrong type.",
			files:  map[string]string{"app/web.yaml": webManifest(image, "  replicas: many\n")},
			code:   exitDenied, want: []string{"deny apply SchemaInvalid app/web.yaml:7"},
		},
		"NotServed": {
			reason: "A version that is gone.",
			files:  map[string]string{"app/web.yaml": strings.Replace(webManifest(image), "apps/v1", "apps/v1beta1", 1)},
			code:   exitDenied, want: []string{"deny apply SchemaInvalid app/web.yaml:1"},
		},
		"NoSchema": {
			reason: "Of a kind that nobody defined nothing can be said.",
			files:  map[string]string{"app/w.yaml": widget},
			code:   exitUndetermined, want: []string{"undetermined apply SchemaInvalid app/w.yaml:1"},
		},
		"Given": {
			reason: "A definition that the cluster has.",
			files:  map[string]string{"app/w.yaml": widget},
			args:   []string{"--schemas", crds},
		},
		"GivenBad": {
			reason: "It holds.",
			files:  map[string]string{"app/w.yaml": strings.Replace(widget, "3", "30", 1)},
			args:   []string{"--schemas", crds},
			code:   exitDenied, want: []string{"deny apply SchemaInvalid app/w.yaml:5"},
		},
		"InTree": {
			reason: "A definition that the same revision brings.",
			files:  map[string]string{"app/w.yaml": widget, "app/crd.yaml": widgets},
		},
		"Newer": {
			reason: "What the revision brings counts more than what was given.",
			files:  map[string]string{"app/w.yaml": strings.Replace(widget, "3", "30", 1), "app/crd.yaml": strings.Replace(widgets, "9", "99", 1)},
			args:   []string{"--schemas", crds},
		},
	} {
		t.Run(name, func(t *testing.T) {
			head := r.feature(gitrepo.Change{Files: tc.files})
			code, out, errs := r.check(append([]string{"--base", "main", "--head", head.String(), "-o", "json"}, tc.args...)...)
			if diff := cmp.Diff(tc.want, found(t, out)); code != tc.code || errs != "" || diff != "" {
				t.Errorf("%s\nexit %d, want %d, stderr %q (-want +got)\n%s\n%s", tc.reason, code, tc.code, errs, diff, out)
			}
		})
	}
	if code, _, errs := r.check("--head", "main", "--schemas", r.config); code != exitUsage || !strings.Contains(errs, "holds no CustomResourceDefinition") {
		t.Errorf("a file without definitions: exit %d, stderr %q", code, errs)
	}
}

// TestCheckSecrets: without keys the form is judged, with them the content.
func TestCheckSecrets(t *testing.T) {
	r := newCheckRepo(t)
	alice, err := sopskit.NewAge()
	if err != nil {
		t.Fatal(err)
	}
	bob, err := sopskit.NewAge()
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(t.TempDir(), "keys.txt")
	if err := os.WriteFile(keys, alice.PrivateKey(), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\nstringData:\n  password: hunter2\n"
	encrypt := func(to ...sopskit.Recipient) string {
		t.Helper()
		raw, err := sopskit.Encrypt("app/s.yaml", []byte(plain), sopskit.For(to...))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	good := encrypt(alice)
	tampered := strings.Replace(good, "namespace: shop", "namespace: prod", 1)
	if tampered == good {
		t.Fatal("nothing was tampered with")
	}
	rules := string(sopskit.Rules(alice))
	for name, tc := range map[string]struct {
		reason string
		files  map[string]string
		env    map[string]string
		args   []string
		code   int
		want   []string
	}{
		"NoKey": {
			reason: "Without a key the integrity is not known.",
			files:  map[string]string{"app/s.yaml": good},
			code:   exitUndetermined, want: []string{"undetermined secret SecretUndecryptable app/s.yaml:1"},
		},
		"Key": {
			reason: "With the key it is.",
			files:  map[string]string{"app/s.yaml": good, ".sops.yaml": rules}, args: []string{"--keys", keys},
		},
		"KeyFile": {
			reason: "The key where sops looks for it.",
			files:  map[string]string{"app/s.yaml": good}, env: map[string]string{"SOPS_AGE_KEY_FILE": keys},
		},
		"KeyText": {
			reason: "And the key itself, as CI systems pass it.",
			files:  map[string]string{"app/s.yaml": good}, env: map[string]string{"SOPS_AGE_KEY": string(alice.PrivateKey())},
		},
		"Tampered": {
			reason: "A change after encryption.",
			files:  map[string]string{"app/s.yaml": tampered}, args: []string{"--keys", keys},
			code: exitDenied, want: []string{"deny secret SecretIntegrity app/s.yaml:1"},
		},
		"Missing": {
			reason: "Somebody whom the rules demand cannot read it.",
			files:  map[string]string{"app/s.yaml": good, ".sops.yaml": string(sopskit.Rules(alice, bob))}, args: []string{"--keys", keys},
			code: exitDenied, want: []string{"deny secret RecipientMissing app/s.yaml:1"},
		},
		"Stale": {
			reason: "Somebody can still read it who should not.",
			files:  map[string]string{"app/s.yaml": encrypt(alice, bob), ".sops.yaml": rules}, args: []string{"--keys", keys},
			want: []string{"warn secret RecipientStale app/s.yaml:1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range tc.env {
				t.Setenv(k, v)
			}
			head := r.feature(gitrepo.Change{Files: tc.files})
			code, out, errs := r.check(append([]string{"--base", "main", "--head", head.String(), "-o", "json"}, tc.args...)...)
			if strings.Contains(out+errs, "hunter2") {
				t.Fatalf("%s\nthe secret is told", tc.reason)
			}
			got := found(t, out)
			for i, f := range got { // the line of a recipient is that of its entry
				if name == "Missing" || name == "Stale" {
					got[i] = f[:strings.LastIndex(f, ":")] + ":1"
				}
			}
			if diff := cmp.Diff(tc.want, got); code != tc.code || errs != "" || diff != "" {
				t.Errorf("%s\nexit %d, want %d, stderr %q (-want +got)\n%s\n%s", tc.reason, code, tc.code, errs, diff, out)
			}
		})
	}
}
