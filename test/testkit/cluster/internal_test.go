package cluster

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/modfile"
)

func TestKubeVersion(t *testing.T) {
	dir, err := moduleDir()
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(mod), "\tk8s.io/kubernetes "+kubeVersion) {
		t.Errorf("%s/go.mod does not require k8s.io/kubernetes %s, which the linker is told", dir, kubeVersion)
	}
	if want := "v" + kubeMajor + "." + kubeMinor + "."; !strings.HasPrefix(kubeVersion, want) {
		t.Errorf("kubeVersion = %s, want %s…", kubeVersion, want)
	}
	for _, tl := range allTools() {
		if !strings.Contains(string(mod), "\t"+tl.pkg+"\n") {
			t.Errorf("%s/go.mod has no tool %s", dir, tl.pkg)
		}
	}
}

// TestSharedModules wants modules of the control plane that are the product's, too, in
// the same version: what they share is compiled once, minutes of a first build.
func TestSharedModules(t *testing.T) {
	dir, err := moduleDir()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := versions(t, filepath.Join(dir, "../..")), versions(t, dir)
	for module, version := range theirs {
		if own := ours[module]; own != "" && own != version {
			t.Errorf("%s is %s here and %s in test/controlplane: go get the newer one in both", module, own, version)
		}
	}
	if ours["k8s.io/apimachinery"] == "" || theirs["k8s.io/apimachinery"] == "" {
		t.Error("hardly anything was compared")
	}
}

// versions are those that a go.mod requires, or replaces a requirement with.
func versions(t *testing.T, dir string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, r := range mod.Require {
		out[r.Mod.Path] = r.Mod.Version
	}
	for _, r := range mod.Replace {
		if out[r.Old.Path] != "" {
			out[r.Old.Path] = r.New.Version
		}
	}
	return out
}

func TestModuleDirByWorkingDirectory(t *testing.T) {
	want, err := moduleDir()
	if err != nil {
		t.Fatal(err)
	}
	got, err := moduleAbove(filepath.Join(want, "..", "testkit", "cluster", "prebuild"))
	if err != nil || filepath.Clean(got) != filepath.Clean(want) {
		t.Errorf("moduleAbove = %q, %v, want %q", got, err, want)
	}
	if _, err := moduleAbove(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("outside of the repository: %v, want %v", err, os.ErrNotExist)
	}
}

func TestAssets(t *testing.T) {
	dir := t.TempDir()
	for _, tl := range []tool{etcdTool, apiServerTool} {
		if err := os.WriteFile(filepath.Join(dir, tl.name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(assetsEnv, dir)
	bin, err := ensure(t.Context(), []tool{etcdTool, apiServerTool}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Bin{Etcd: filepath.Join(dir, "etcd"), APIServer: filepath.Join(dir, "kube-apiserver")}); bin != want {
		t.Errorf("ensure = %+v, want %+v", bin, want)
	}
}

func TestBuildOutput(t *testing.T) {
	var o buildOutput
	o.read(strings.NewReader("go: downloading example.com/x v1\nfmt\nexample.com/x/y\n# example.com/x\nx.go:1: no such thing\n"))
	if got := o.packages.Load(); got != 2 {
		t.Errorf("packages = %d, want 2", got)
	}
	if !strings.Contains(o.other.String(), "no such thing") {
		t.Errorf("the error is lost: %q", o.other.String())
	}
}

func TestSweep(t *testing.T) {
	parent := t.TempDir()
	live, err := newRunDir(t.Context(), parent)
	if err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(filepath.Dir(live.path), "run-dead")
	if err := os.MkdirAll(filepath.Join(dead, "etcd.data"), 0o700); err != nil {
		t.Fatal(err)
	}
	next, err := newRunDir(t.Context(), parent)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("dead directory: %v, want it to be gone", err)
	}
	if _, err := os.Stat(live.path); err != nil {
		t.Errorf("live directory: %v", err)
	}
	if err := errors.Join(live.remove(), next.remove()); err != nil {
		t.Error(err)
	}
}

func TestForeignDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := checkOwner(dir); err != nil {
		t.Errorf("our own: %v", err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := checkOwner(dir); err == nil {
		t.Error("a directory that everybody may write passed")
	}
}

func TestLockFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := tryLockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := lockFile(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a held lock: %v, want %v", err, context.DeadlineExceeded)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
}

func TestReservePort(t *testing.T) {
	p, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	defer p.release()
	if p.listening(t.Context()) {
		t.Error("somebody listens on a reserved port")
	}
	if l, err := net.Listen("tcp4", p.host()); err == nil {
		_ = l.Close()
		t.Errorf("anybody can listen on %s", p.host())
	}
}

func TestPrefixEnd(t *testing.T) {
	for prefix, want := range map[string]string{"/a/": "/a0", "a\xff": "b", "\xff": "\x00", "": "\x00"} {
		if got := string(prefixEnd(prefix)); got != want {
			t.Errorf("prefixEnd(%q) = %q, want %q", prefix, got, want)
		}
	}
}
