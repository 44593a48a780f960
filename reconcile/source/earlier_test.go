package source_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/reconcile/source"
)

func hashes(n int) []plumbing.Hash {
	var out []plumbing.Hash
	for i := range n {
		out = append(out, plumbing.NewHash(fmt.Sprintf("%040x", i+1)))
	}
	return out
}

func TestEarlier(t *testing.T) {
	dir := t.TempDir()
	o := source.Options{URL: exampleHTTPS}
	r := open(t, openCache(t, dir), o)
	if got := r.Earlier("team/a"); got != nil {
		t.Errorf("before anything was in force: %v", got)
	}
	all := hashes(source.MaxEarlier + 3)
	for _, owner := range []string{"team/a", "../../../../escape"} {
		if err := r.SetEarlier(owner, all); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, openCache(t, dir), o)
	if d := cmp.Diff(all[3:], again.Earlier("team/a")); d != "" {
		t.Errorf("after a restart, of more than the bound (-want +got):\n%s", d)
	}
	if got := again.Earlier("team/b"); got != nil {
		t.Errorf("another owner's: %v", got)
	}
	if err := again.SetEarlier("team/a", all[:2]); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(all[:2], r.Earlier("team/a")); d != "" {
		t.Errorf("after a shorter list (-want +got):\n%s", d)
	}
	if err := again.SetApplied("team/a", plumbing.ZeroHash); err != nil {
		t.Fatal(err)
	}
	if got := r.Earlier("team/a"); got != nil {
		t.Errorf("after forgetting: %v", got)
	}
	for name := range snapshot(t, dir) {
		if strings.Contains(name, "escape") {
			t.Errorf("an owner's name became the file %s", name)
		}
	}
}

// What cannot be read is no error: it is a hint that is not there.
func TestEarlierGarbage(t *testing.T) {
	dir := t.TempDir()
	r := open(t, openCache(t, dir), source.Options{URL: exampleHTTPS})
	if err := r.SetEarlier("a", hashes(1)); err != nil {
		t.Fatal(err)
	}
	line := hashes(1)[0].String() + "\n"
	for name, garbage := range map[string]string{
		"Empty": "", "Short": line[:20] + "\n", "Unended": line[:40], "Half": line + line[:7], "Upper": strings.Repeat("AB", 20) + "\n",
		"One bad": line + strings.Repeat("z", 40) + "\n", "Joined": strings.Repeat("ab", 41), "Blank": "\n" + line[:40],
		"Too many": strings.Repeat(line, source.MaxEarlier+1), "Endless": strings.Repeat(line, 1<<16), "NUL": strings.Repeat("\x00", 41),
	} {
		t.Run(name, func(t *testing.T) {
			edit(t, one(t, dir, "gitgate.earlier/*"), func([]byte) []byte { return []byte(garbage) })
			if got := r.Earlier("a"); got != nil {
				t.Errorf("Earlier of %.60q = %v", garbage, got)
			}
		})
	}
	edit(t, one(t, dir, "gitgate.earlier/*"), func([]byte) []byte { return []byte(line) })
	if got := r.Earlier("a"); len(got) != 1 {
		t.Errorf("what is whole is not read: %v", got)
	}
}
