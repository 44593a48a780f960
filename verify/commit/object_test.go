package commit

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// seeds returns the files of a directory under testdata; it is fatal if there
// are none, so that a moved corpus cannot pass for a clean run.
func seeds(tb testing.TB, dir string) [][]byte {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*"))
	if err != nil || len(files) == 0 {
		tb.Fatalf("no seeds in testdata/%s: %v", dir, err)
	}
	var out [][]byte
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, data)
	}
	return out
}

// What is verified must be the very bytes that Git has: parsing loses nothing,
// and cutting the signature out leaves all else as it was.
func FuzzParseCommit(f *testing.F) {
	for _, raw := range seeds(f, "commits") {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parseCommit(raw)
		if err != nil {
			if err.Reason != MalformedObject || err.Message == "" {
				t.Errorf("error without a reason: %+v", err)
			}
			return
		}
		if got := c.encode(""); !bytes.Equal(got, raw) {
			t.Errorf("encoded anew it differs:\n%q\n%q", got, raw)
		}
		payload := c.payload()
		if c.signature == "" {
			if !bytes.Equal(payload, raw) {
				t.Errorf("payload of an unsigned commit differs:\n%q\n%q", payload, raw)
			}
			return
		}
		again, err := parseCommit(payload)
		if err != nil || again.signature != "" || again.tree != c.tree || len(again.parents) != len(c.parents) ||
			again.author != c.author || again.committer != c.committer || !bytes.Equal(again.message, c.message) {
			t.Errorf("what is signed says other things than the commit: %v\n%q\n%q", err, payload, raw)
		}
		if len(raw)-len(payload) != len("gpgsig \n")+len(c.signatureHeader)-len("gpgsig")+len(c.signature)+strings.Count(c.signature, "\n") {
			t.Errorf("more than the signature was cut:\n%q\n%q", payload, raw)
		}
	})
}

func FuzzParseTag(f *testing.F) {
	for _, raw := range seeds(f, "tags") {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		tag, err := parseTag(raw)
		if err != nil {
			return
		}
		if got := tag.encode(""); !bytes.Equal(got, raw) {
			t.Errorf("encoded anew it differs:\n%q\n%q", got, raw)
		}
		if got := append(bytes.Clone(tag.signed), tag.signature...); !bytes.Equal(got, raw) {
			t.Errorf("payload and signature are not the tag:\n%q\n%q", got, raw)
		}
		if strings.Contains(string(tag.body()), "\n-----BEGIN PGP SIGNATURE-----") {
			t.Error("a signature is left in the body")
		}
	})
}

func FuzzParseTree(f *testing.F) {
	for _, raw := range seeds(f, "trees") {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, err := parseTree(raw)
		if err != nil {
			return
		}
		var n int
		for _, e := range entries {
			if strings.ContainsAny(e.name, "/\\\x00") || e.name == ".." || strings.EqualFold(e.name, ".git") {
				t.Errorf("accepted the name %q", e.name)
			}
			n += len(e.name) + 22 + 6
			if e.mode.String() == "0040000" {
				n--
			}
		}
		if n != len(raw) {
			t.Errorf("%d bytes accounted for, of %d", n, len(raw))
		}
	})
}

// No signature, however broken, may end the process.
func FuzzProve(f *testing.F) {
	for _, raw := range seeds(f, "signatures") {
		f.Add(string(raw))
	}
	keys := &keyring{}
	f.Fuzz(func(t *testing.T, armored string) {
		p := keys.prove(armored, []byte("payload"))
		if p.fault == nil || p.fault.message == "" {
			t.Errorf("an empty keyring accepts %q", armored)
		}
		if strings.Contains(p.fault.message, "internal") {
			t.Error(p.fault.message)
		}
	})
}

func FuzzAllowedSigner(f *testing.F) {
	for _, raw := range seeds(f, "allowed_signers") {
		f.Add(string(raw))
	}
	f.Fuzz(func(t *testing.T, line string) {
		a, err := parseAllowedSigner(line, time.UTC)
		if err == nil && (a.key == nil || len(a.principals) == 0) {
			t.Errorf("%q gives a line without key or principals", line)
		}
	})
}

func TestParseIdentity(t *testing.T) {
	at := time.Unix(1700000000, 0).In(time.FixedZone("", -(3*3600 + 30*60)))
	for name, tc := range map[string]struct {
		in   string
		want Identity
		ok   bool
	}{
		"Full":         {"Alice B <a@example.com> 1700000000 -0330", Identity{"Alice B", "a@example.com", at}, true},
		"NoName":       {"<a@example.com> 1700000000 -0330", Identity{"", "a@example.com", at}, true},
		"NoEmail":      {"Alice <> 1700000000 -0330", Identity{"Alice", "", at}, true},
		"NoSpace":      {"Alice<a@example.com> 1700000000 -0330", Identity{}, false},
		"TwoEmails":    {"A <a@x> <b@x> 1 +0000", Identity{}, false},
		"Nested":       {"A <<a@x> 1 +0000", Identity{}, false},
		"Reversed":     {"A >a@x< 1 +0000", Identity{}, false},
		"NoTime":       {"A <a@x>", Identity{}, false},
		"Negative":     {"A <a@x> -1 +0000", Identity{}, false},
		"TooLate":      {"A <a@x> 9999999999999 +0000", Identity{}, false},
		"LongZone":     {"A <a@x> 1 +00000", Identity{}, false},
		"SignlessZone": {"A <a@x> 1 00000", Identity{}, false},
		"Trailing":     {"A <a@x> 1 +0000 ", Identity{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := parseIdentity(tc.in)
			if ok != tc.ok || got.Name != tc.want.Name || got.Email != tc.want.Email || !got.When.Equal(tc.want.When) {
				t.Errorf("parseIdentity(%q) = %+v, %t", tc.in, got, ok)
			}
			if ok && got.When.Format("-0700") != "-0330" {
				t.Errorf("zone %s", got.When.Format("-0700"))
			}
		})
	}
}

// A hostile commit of a megabyte must not take quadratic time.
func TestParseLongHeadersInLinearTime(t *testing.T) {
	raw := seeds(t, "commits")[0]
	head, rest, _ := bytes.Cut(raw, []byte("\n\n"))
	long := append(append(bytes.Clone(head), "\nother x"+strings.Repeat("\n ", 500_000)+"\n\n"...), rest...)
	start := time.Now()
	c, err := parseCommit(long)
	if err == nil && !bytes.Equal(c.encode(""), long) {
		t.Error("encoded anew it differs")
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("took %s", d)
	}
}
