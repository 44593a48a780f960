package render

import (
	"reflect"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shareAll reads documents one after the other.
func shareAll(t *testing.T, s *sharer, texts ...string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for _, text := range texts {
		nodes, simple, p := structure([]byte(text))
		if p != nil || !simple {
			t.Fatalf("%.40q is not simple: %v", text, p)
		}
		values, ok := simpleValues(nodes, s)
		if !ok {
			t.Fatalf("%.40q is not simple", text)
		}
		out = append(out, values[0].(map[string]any))
	}
	return out
}

func address(v any) uintptr { return reflect.ValueOf(v).Pointer() }

// TestShare: values are one where they are equal, and only there.
func TestShare(t *testing.T) {
	for name, tc := range map[string]struct {
		reason     string
		a, b       string
		field      string
		want, same bool
	}{
		"Mapping":   {"Pod templates repeat.", "k: {x: {z: [1, a]}}\n", "other: 1\nk: {x: {z: [1, a]}}\n", "k", true, true},
		"AnyOrder":  {"A mapping has none.", "k: {x: 1, z: 2}\n", "k: {z: 2, x: 1}\n", "k", true, true},
		"Layout":    {"How it is written does not matter.", "k: {x: '1'}\n", "k:\n  x: \"1\" # one\n", "k", true, true},
		"List":      {"Lists repeat as well.", "k: [a, {b: c}]\n", "k:\n- a\n- b: c\n", "k", true, true},
		"Empty":     {"What is empty is equal.", "k: {}\n", "k: {}\n", "k", true, true},
		"Metadata":  {"They hold the name, and are like no other.", "metadata: {name: a}\n", "metadata: {name: a}\n", "metadata", false, true},
		"Text":      {"A text has the hash of the number that looks like it.", "k: {x: 1}\n", "k: {x: '1'}\n", "k", false, false},
		"Null":      {"A text has the hash of the null that looks like it.", "k: [null]\n", "k: ['null']\n", "k", false, false},
		"Item":      {"Another item.", "k: [a, b]\n", "k: [a, c]\n", "k", false, false},
		"Order":     {"A list has an order.", "k: [a, b]\n", "k: [b, a]\n", "k", false, false},
		"Below":     {"Another value far below.", "k: {x: {z: [1, a]}}\n", "k: {x: {z: [1, b]}}\n", "k", false, false},
		"Key":       {"Another key.", "k: {x: 1}\n", "k: {z: 1}\n", "k", false, false},
		"Swapped":   {"Keys and values are no matter of chance.", "k: {x: z}\n", "k: {z: x}\n", "k", false, false},
		"EmptyKind": {"A list is no mapping.", "k: {}\n", "k: []\n", "k", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := shareAll(t, newSharer(), tc.a, tc.b)
			a, b := got[0][tc.field], got[1][tc.field]
			if one := reflect.TypeOf(a) == reflect.TypeOf(b) && address(a) == address(b) && !isEmptyList(a); one != tc.want {
				t.Errorf("%s\n%v and %v are one: %t", tc.reason, a, b, one)
			}
			if same := cmp.Equal(a, b); same != tc.same {
				t.Errorf("%s\n%v and %v are equal: %t", tc.reason, a, b, same)
			}
			alone := shareAll(t, newSharer(), tc.b)[0]
			if diff := cmp.Diff(alone, got[1]); diff != "" {
				t.Errorf("%s\nread after something else (-alone +after):\n%s", tc.reason, diff)
			}
		})
	}
	for _, text := range []string{"a: {b: [1, '1', null, 1.5, true, {c: []}]}\nmetadata: {name: x}\n", "k: {x: {z: [1, a]}}\n"} {
		s := newSharer()
		plain := shareAll(t, newSharer(), text)[0]
		first, second := s.decoded(plain).(map[string]any), s.decoded(plain).(map[string]any)
		if diff := cmp.Diff(plain, first); diff != "" {
			t.Errorf("%s is another value after it was shared (-before +after):\n%s", text, diff)
		}
		for key := range first {
			if one := address(first[key]) == address(second[key]); one == (key == "metadata") {
				t.Errorf("%s of two decoded values are one: %t", key, one)
			}
		}
	}
	got := shareAll(t, newSharer(), "metadata: {name: a, labels: {app: x}}\n", "metadata: {name: b, labels: {app: x}}\n")
	labels := func(o map[string]any) any { return o["metadata"].(map[string]any)["labels"] }
	if address(labels(got[0])) != address(labels(got[1])) {
		t.Error("the same labels under two names are two mappings")
	}
}

func isEmptyList(v any) bool {
	list, ok := v.([]any)
	return ok && len(list) == 0
}

// TestShareIsBounded: what has nothing in common with anything else is not remembered
// without end, and reads the same.
func TestShareIsBounded(t *testing.T) {
	s := newSharer()
	s.most = 3
	first := "k: {a: {b: one}}\nl: [two]\n"
	got := shareAll(t, s, first, "k: {c: three}\nl: [four, {e: five}]\n", first, "k: {c: three}\n")
	if len(s.values) > s.most || len(s.texts) > s.most {
		t.Errorf("%d values and %d texts are remembered", len(s.values), len(s.texts))
	}
	if address(got[0]["k"]) != address(got[2]["k"]) {
		t.Error("what is remembered is not shared")
	}
	if address(got[1]["k"]) == address(got[3]["k"]) {
		t.Error("more was remembered")
	}
	if diff := cmp.Diff(map[string]any{"k": map[string]any{"c": "three"}, "l": []any{"four", map[string]any{"e": "five"}}}, got[1]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestShareLetsGo: a word does not hold on to the file that it stands in.
func TestShareLetsGo(t *testing.T) {
	filler := make([]byte, 1<<20)
	for i := range filler {
		filler[i] = '#'
	}
	before := inUse()
	s := newSharer()
	var kept []map[string]any
	for i := range 20 {
		word := "word-" + string(rune('a'+i))
		kept = append(kept, shareAll(t, s, word+": "+word+word+"\nk: ["+word+"]\n"+string(filler)+"\n")...)
	}
	if more := inUse() - before; more > 2<<20 {
		t.Errorf("%d KiB more are in use, for %d short words", more>>10, len(kept))
	}
	runtime.KeepAlive(kept)
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
