package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

func decodeAll(src string) (*ast.Term, error) {
	d := decoder{src: src}
	return d.decodeObject(&readPaths{all: true})
}

func TestDecodeRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ src, want string }{
		"DuplicateKey":     {`{"a":1,"a":2}`, `duplicate key "a"`},
		"DuplicateNested":  {`{"x":[{"a":1,"a":2}]}`, `duplicate key "a"`},
		"DuplicateEscaped": {`{"a":1,"\u0061":2}`, `duplicate key "a"`},
		"DuplicateLate":    {`{"k0":0,"k1":0,"k2":0,"k3":0,"k4":0,"k5":0,"k6":0,"k7":0,"k8":0,"k9":0,"a":0,"b":0,"c":0,"d":0,"e":0,"f":0,"g":0,"k0":0}`, `duplicate key "k0"`},
		"InvalidUTF8":      {"{\"a\":\"\xff\"}", "not UTF-8"},
		"InvalidUTF8Key":   {"{\"\xff\":1}", "not UTF-8"},
		"LoneSurrogate":    {`{"a":"\ud800"}`, "surrogate"},
		"LowSurrogate":     {`{"a":"\udc00"}`, "surrogate"},
		"BadPair":          {`{"a":"\ud800\u0041"}`, "surrogate"},
		"ControlCharacter": {"{\"a\":\"\n\"}", "control character"},
		"ControlEscaped":   {"{\"a\":\"\\n\n\"}", "control character"},
		"BadEscape":        {`{"a":"\x"}`, "unknown escape"},
		"BadHex":           {`{"a":"\u00g0"}`, "hexadecimal"},
		"LeadingZero":      {`{"a":0777}`, "not a number"},
		"Plus":             {`{"a":-+1}`, "not a number"},
		"Dot":              {`{"a":1.}`, "not a number"},
		"Infinite":         {`{"a":1e400}`, "out of range"},
		"NaN":              {`{"a":NaN}`, "unexpected character"},
		"TrailingComma":    {`{"a":1,}`, "want a key"},
		"ArrayComma":       {`{"a":[1,]}`, "unexpected character"},
		"NoColon":          {`{"a" 1}`, "no colon"},
		"NoComma":          {`{"a":1 "b":2}`, "want a comma"},
		"Trailing":         {`{} {}`, "after the object"},
		"Array":            {`[]`, "not an object"},
		"Ends":             {`{"a":`, "ends early"},
		"EndsInString":     {`{"a":"b`, "ends early"},
		"EndsInEscape":     {`{"a":"b\`, "ends early"},
		"Deep":             {strings.Repeat(`{"a":`, 201) + "1" + strings.Repeat("}", 201), "nested deeper"},
		"DeepArray":        {`{"a":` + strings.Repeat(`[`, 250), "nested deeper"},
	} {
		t.Run(name, func(t *testing.T) {
			for mode, keep := range map[string]*readPaths{"kept": {all: true}, "dropped": {}} {
				d := decoder{src: tc.src}
				if _, err := d.decodeObject(keep); err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s: decode(%.60q) = %v, want %q", mode, tc.src, err, tc.want)
				}
			}
		})
	}
}

// TestAttack_Y4_Numbers wants numbers as the API server sees them.
func TestAttack_Y4_Numbers(t *testing.T) {
	for lit, want := range map[string]string{
		"9007199254740993":     "9007199254740993",
		"9223372036854775807":  "9223372036854775807",
		"-9223372036854775808": "-9223372036854775808",
		"9223372036854775808":  "9223372036854776000", // beyond 64 bits: a float64
		"9223372036854775809":  "9223372036854776000", // … and rounded
		"1.0":                  "1",
		"1e3":                  "1000",
		"0.1":                  "0.1",
		"-0":                   "0",
		"777":                  "777",
	} {
		got, err := decodeAll(`{"a":` + lit + `}`)
		if err != nil {
			t.Errorf("%s: %v", lit, err)
			continue
		}
		n := got.Get(ast.StringTerm("a")).Value
		if n.Compare(ast.Number(want)) != 0 {
			t.Errorf("%s reads as %s, want %s", lit, n, want)
		}
		if strings.Trim(lit, "-0123456789") == "" && n.String() != want {
			t.Errorf("%s reads as %s, want it digit by digit", lit, n)
		}
	}
}

func TestDecodeHidesSecrets(t *testing.T) {
	const canary = "Y2FuYXJ5"
	d := decoder{secret: true, src: `{"apiVersion":"v1","kind":"Secret","type":"` + "Opaque" + `","metadata":{"annotations":{"` + lastApplied +
		`":"` + canary + `","note":"kept"}},"data":{"a":"` + canary + `","b":["` + canary + `",{"c":"` + canary + `"}]},"stringData":{"d":"` + canary + `"}}`}
	got, err := d.decodeObject(&readPaths{all: true})
	if err != nil {
		t.Fatal(err)
	}
	s := got.String()
	if strings.Contains(s, canary) {
		t.Errorf("the value is there: %s", s)
	}
	for _, want := range []string{`"a": "(redacted)"`, `"b": ["(redacted)", {"c": "(redacted)"}]`, `"d": "(redacted)"`, `"note": "kept"`, `"type": "Opaque"`} {
		if !strings.Contains(s, want) {
			t.Errorf("%s does not hold %s", s, want)
		}
	}
}

// FuzzDecode compares with encoding/json: whatever we read, it reads the same;
// and what is dropped is checked as strictly as what is kept.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,-2.5e3,"x\u00e9\ud83d\ude00\n",true,false,null,{}],"b":{"c":[]}}`, `{"a":0777}`, `{"a":"\ud800"}`,
		`{"k":9007199254740993}`, ` { "a" : [ ] } `, `{"a":{"a":{"a":1}},"b":1}`, "{\"a\":\"\xff\"}", `{"a":1,"a":1}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		got, err := decodeAll(src)
		d := decoder{src: src}
		if _, dropped := d.decodeObject(&readPaths{}); (dropped == nil) != (err == nil) {
			t.Fatalf("kept: %v, dropped: %v", err, dropped)
		}
		if err != nil {
			return
		}
		var want any
		dec := json.NewDecoder(bytes.NewReader([]byte(src)))
		dec.UseNumber()
		if err := dec.Decode(&want); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", src, err)
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			t.Fatalf("encoding/json sees more than one document in %q", src)
		}
		value, err := ast.InterfaceToValue(floats(want))
		if err != nil {
			t.Fatal(err)
		}
		if got.Value.Compare(value) != 0 {
			t.Fatalf("%q reads as %s, want %s", src, got, value)
		}
	})
}

// floats turns numbers beyond 64 bits into float64, as an API server does.
func floats(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = floats(v[k])
		}
	case []any:
		for i := range v {
			v[i] = floats(v[i])
		}
	case json.Number:
		if _, err := v.Int64(); err != nil {
			f, _ := v.Float64()
			raw, _ := json.Marshal(f)
			return json.Number(raw)
		}
	}
	return v
}

func BenchmarkDecode(b *testing.B) {
	src := `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[` +
		strings.TrimSuffix(strings.Repeat(`{"name":"web","image":"ghcr.io/acme/web:1","env":[{"name":"A","value":"b"},{"name":"C","value":"d"}],"ports":[{"containerPort":8080,"protocol":"TCP"}],"securityContext":{"runAsNonRoot":true}},`, 40), ",") + `]}}`
	intern := newEngine(nil, Options{}).intern
	for name, f := range map[string]func() (ast.Value, error){
		"straight": func() (ast.Value, error) {
			d := decoder{src: src, intern: intern}
			t, err := d.decodeObject(&readPaths{all: true})
			return t.Value, err
		},
		"pruned": func() (ast.Value, error) {
			d := decoder{src: src, intern: intern}
			t, err := d.decodeObject(&readPaths{keys: map[string]*readPaths{"kind": {all: true}}})
			return t.Value, err
		},
		"by-map": func() (ast.Value, error) {
			var v any
			if err := json.Unmarshal([]byte(src), &v); err != nil {
				return nil, err
			}
			return ast.InterfaceToValue(v)
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				if _, err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
