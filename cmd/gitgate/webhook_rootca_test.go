package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
)

func TestClusterCA(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.crt")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	c, err := newClusterCA(file, &rest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	holds := func(reason string, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, c.bundles()); d != "" {
			t.Errorf("%s (-want +got):\n%s", reason, d)
		}
	}
	holds("It is what is in the file.", "first", "first")
	write("second")
	holds("The file is read again, and what was good stays so.", "second", "first")
	for name, content := range map[string]string{"empty": "", "endless": strings.Repeat("x", maxBundle+1)} {
		write(content)
		holds("A file that is "+name+" says nothing.", "first")
		if _, err := newClusterCA(file, &rest.Config{}); err == nil {
			t.Errorf("a file that is %s was taken", name)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	holds("Nor does one that is gone.", "first")
	if _, err := newClusterCA(file, &rest.Config{}); err == nil || !strings.Contains(err.Error(), "--cluster-ca-file") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// Only in a Pod the bundle of the client is what the publisher has.
func TestClusterCADefault(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		tls    rest.TLSClientConfig
		file   string
	}{
		"Pod":        {"It is the content of kube-root-ca.crt.", rest.TLSClientConfig{CAFile: podCAFile}, podCAFile},
		"Kubeconfig": {"It may be any that leads to the API server.", rest.TLSClientConfig{CAFile: "/etc/ca.crt"}, ""},
		"Inline":     {"And nobody keeps it up to date.", rest.TLSClientConfig{CAData: []byte("ca")}, ""},
		"None":       {"Or it is not known at all.", rest.TLSClientConfig{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := newClusterCA("", &rest.Config{TLSClientConfig: tc.tls})
			if err != nil {
				t.Fatal(err)
			}
			if (c != nil) != (tc.file != "") || c != nil && c.file != tc.file {
				t.Errorf("%s\ngot %+v", tc.reason, c)
			}
			if c == nil && c.bundles() != nil {
				t.Errorf("%s\nbundles %q", tc.reason, c.bundles())
			}
		})
	}
}
