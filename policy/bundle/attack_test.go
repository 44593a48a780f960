package bundle_test

import (
	"archive/tar"
	"errors"
	"io/fs"
	"runtime"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/bundle"
)

// TestAttack_P2_BundlePaths gives names that lead out of the bundle, or that readers
// understand in different ways.
func TestAttack_P2_BundlePaths(t *testing.T) {
	for _, name := range []string{
		"../evil.rego", "a/../../evil.rego", "a/../evil.rego", "/../evil.rego", "./../evil.rego", "..", "a/..", "//etc/evil.rego", "a//b.rego",
		"a/./b.rego", ".//a.rego", "././a.rego", `..\evil.rego`, `C:\evil.rego`, "a\x1b[2J.rego", "a\nb.rego", "a\u202eb.rego", "a\u00a0b.rego", "\xff.rego",
	} {
		// No writer makes all of these: the name is patched into a header that one made.
		raw := patchedName(t, name)
		b, err := bundle.Read(raw, bundle.Limits{})
		if err == nil || !strings.Contains(err.Error(), "a path") {
			t.Errorf("%q: Read() = %v, %v", name, b, err)
			continue
		}
		if strings.ContainsAny(err.Error(), "\x00\x1b\n") {
			t.Errorf("%q: the error would steer a terminal: %q", name, err)
		}
	}
}

// TestAttack_P1_BundleLinks has links in the place of files, and files behind links.
func TestAttack_P1_BundleLinks(t *testing.T) {
	for name, entries := range map[string][]entry{
		"Symlink":  {{name: "token.rego", kind: tar.TypeSymlink, link: "/var/run/secrets/kubernetes.io/serviceaccount/token"}},
		"Hardlink": {rule, {name: "b.rego", kind: tar.TypeLink, link: "acme/team.rego"}},
		"Behind":   {{name: "a", kind: tar.TypeSymlink, link: "/etc"}, {name: "a/cron.d/x.rego", content: native}},
		"Hidden":   {rule, {name: ".git", kind: tar.TypeSymlink, link: "/etc"}},
	} {
		if _, err := bundle.Read(pack(t, entries...), bundle.Limits{}); err == nil || !strings.Contains(err.Error(), "a link") {
			t.Errorf("%s: Read() = %v", name, err)
		}
	}
}

// patchedName is an archive of one file whose name only an attacker would write.
func patchedName(t *testing.T, name string) []byte {
	t.Helper()
	if len(name) > 100 {
		t.Fatalf("%q does not fit", name)
	}
	raw := make([]byte, 3*512)
	copy(raw, name)
	copy(raw[100:], "0000644\x000000000\x000000000\x0000000000000\x0000000000000\x00")
	raw[156] = tar.TypeReg
	copy(raw[257:], "ustar\x0000")
	sum := int64(8 * ' ')
	for i, c := range raw[:512] {
		if i < 148 || i >= 156 {
			sum += int64(c)
		}
	}
	for i := 5; i >= 0; i-- {
		raw[148+i], sum = byte('0'+sum%8), sum/8
	}
	raw[155] = ' '
	return zip(t, raw)
}

// TestAttack_O3_BundleBombs wants bombs refused for the price of their limits.
func TestAttack_O3_BundleBombs(t *testing.T) {
	zeros := func(n int) string { return strings.Repeat("\x00", n) }
	many := make([]entry, 0, 12_000)
	for range 12_000 {
		many = append(many, entry{name: "d/", kind: tar.TypeDir})
	}
	for name, tc := range map[string]struct {
		reason string
		raw    []byte
		limits bundle.Limits
		want   string
	}{
		"Compressed": {"Large as it comes.", pack(t, rule), bundle.Limits{Bytes: 100}, "more than 100"},
		"Ratio":      {"Small as it comes, and large once unpacked.", pack(t, entry{name: "a.rego", content: zeros(6 << 20)}), bundle.Limits{}, "unpack to more than"},
		"Content":    {"Large even without compression.", pack(t, entry{name: "a", content: zeros(6 << 20)}, entry{name: "b", content: zeros(6 << 20)}, entry{name: "c", content: zeros(6 << 20)}), bundle.Limits{Ratio: 1 << 20}, "more than 16777216"},
		"Tail":       {"The bomb comes after the end.", zip(t, make([]byte, 40<<20)), bundle.Limits{}, "unpack to more than"},
		"File":       {"One file is too large.", pack(t, entry{name: "a.rego", content: zeros(9 << 20)}), bundle.Limits{Ratio: 1 << 20}, "more than 8388608"},
		"Entries":    {"Many entries of nothing.", pack(t, many...), bundle.Limits{Ratio: 1 << 20}, "more than 10000 files"},
		"Path":       {"A path that is too long.", pack(t, entry{name: strings.Repeat("a/", 15) + strings.Repeat("b", 500)}), bundle.Limits{}, "a path of"},
		"Depth":      {"A path that is too deep.", pack(t, entry{name: strings.Repeat("a/", 40) + "b.rego"}), bundle.Limits{}, "directories deep"},
		"Sparse":     {"A file that has more bytes than the archive.", sparse(t, "1099511627776", 1), bundle.Limits{}, "more than 8388608"},
		"ManySparse": {"Many of them.", sparse(t, "8000000", 20), bundle.Limits{}, "more than 16777216"},
		"Negative":   {"A negative limit allows nothing.", pack(t, rule), bundle.Limits{Entries: -1}, "more than -1"},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := bundle.Read(tc.raw, tc.limits)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, bundle.ErrLimit) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nRead() = %v, want %q", tc.reason, err, tc.want)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 128<<20 {
				t.Errorf("it took %d MiB", used>>20)
			}
		})
	}
}

// sparse is an archive of files that are holes, in the format of GNU tar in PAX. The
// writer refuses these records, so that they are put before its headers.
func sparse(t *testing.T, size string, n int) []byte {
	t.Helper()
	var all []byte
	for i := range n {
		name := string([]byte{byte('a' + i)}) + ".rego"
		records := ""
		for _, r := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=" + name, "GNU.sparse.realsize=" + size} {
			records += itoa(len(r)+4) + " " + r + "\n" // "NN ", the record, a line break
		}
		file := unzipped(t, entry{name: name, content: "0\n" + strings.Repeat("\x00", 510)})
		all = append(append(all, paxHeader(records)...), file[:len(file)-1024]...) // the end comes last
	}
	return zip(t, append(all, make([]byte, 1024)...))
}

func itoa(n int) string { return string([]byte{byte('0' + n/10), byte('0' + n%10)}) }

// paxHeader is an extended header with records.
func paxHeader(records string) []byte {
	raw := make([]byte, 1024)
	copy(raw, "PaxHeaders/a.rego")
	copy(raw[100:], "0000644\x000000000\x000000000\x00")
	octal(raw[124:135], int64(len(records)))
	copy(raw[136:], "00000000000\x00")
	raw[156] = tar.TypeXHeader
	copy(raw[257:], "ustar\x0000")
	sum := int64(8 * ' ')
	for i, c := range raw[:512] {
		if i < 148 || i >= 156 {
			sum += int64(c)
		}
	}
	octal(raw[148:154], sum)
	raw[155] = ' '
	copy(raw[512:], records)
	return raw
}

func octal(to []byte, n int64) {
	for i := len(to) - 1; i >= 0; i-- {
		to[i], n = byte('0'+n%8), n/8
	}
}

// TestAttack_O1_BundledCapabilities builds and reads rules that reach outside.
func TestAttack_O1_BundledCapabilities(t *testing.T) {
	for builtin, src := range map[string]string{
		"http.send":   `http.send({"method": "GET", "url": "https://evil.example"}).status_code == 200`,
		"opa.runtime": `opa.runtime().env.HOME != ""`,
		"net.lookup":  `count(net.lookup_ip_addr("evil.example")) > 0`,
	} {
		refusedEverywhere(t, "package acme\n\ndeny contains \"no\" if "+src+"\n", builtin, "acme.rego:3")
	}
}

// TestAttack_O2_BundledSilence builds and reads bundles that would let everything pass.
func TestAttack_O2_BundledSilence(t *testing.T) {
	refusedEverywhere(t, "package acme\n\ndenied contains \"no\" if true\n", "deny", "")
}

// TestAttack_O7_BundledPattern builds and reads a pattern that would fail every time.
func TestAttack_O7_BundledPattern(t *testing.T) {
	refusedEverywhere(t, "package acme\n\ndeny contains \"no\" if regex.match(\"(\", input.object.kind)\n", "missing closing )", "acme.rego:3")
}

// refusedEverywhere wants a module neither built into a bundle nor loaded from one that
// somebody else built.
func refusedEverywhere(t *testing.T, module string, says ...string) {
	t.Helper()
	_, _, built := bundle.Build(t.Context(), fs.FS(tree("acme.rego", module)), bundle.Options{})
	b, err := bundle.Read(pack(t, entry{name: "acme.rego", content: module}), bundle.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := b.Set("s", bundle.Dialect{})
	if err != nil {
		t.Fatal(err)
	}
	_, loaded := policy.Load(t.Context(), []policy.Set{set}, policy.Options{})
	for _, want := range says {
		if built == nil || !strings.Contains(built.Error(), want) {
			t.Errorf("Build() = %v, want %q", built, want)
		}
		if loaded == nil || !strings.Contains(loaded.Error(), want) {
			t.Errorf("Load() = %v, want %q", loaded, want)
		}
	}
}
