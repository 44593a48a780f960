package report

import (
	"encoding/json"
	"unicode/utf16"
	"unicode/utf8"

	"gitgate.dev/gitgate/policy/verdict"
)

// item is a verdict in a list: the verdict's own object and its name.
type item struct {
	Name    string          `json:"name"`
	Verdict verdict.Verdict `json:"verdict"`
}

// verdictList is what json writes for anything but one verdict without a name. It
// is API for scripts.
type verdictList struct {
	Kind         string   `json:"kind"`
	Allowed      bool     `json:"allowed"`
	Undetermined bool     `json:"undetermined"`
	Version      string   `json:"version,omitempty"`
	Items        []item   `json:"items"`
	Changes      []Change `json:"changes"`
}

// writeJSON writes one object in one line, and nothing of it is left out.
//
// A single verdict without a name is [verdict.Verdict.MarshalJSON]'s object:
//
//	{"kind":"Verdict","allowed":…,"undetermined":…,"revision":…,"objects":…,"findings":[…],"stages":[…]}
//
// Everything else is a list; allowed is true if all of them allow, and
// undetermined if none denies but not all allow:
//
//	{"kind":"VerdictList","allowed":…,"undetermined":…,"version":…,
//	 "items":[{"name":"namespace/name","verdict":{"kind":"Verdict",…}}],
//	 "changes":[{"object":…,"action":"create|update|delete","file":…,"line":…}]}
//
// So `.allowed` answers in both, and `.. | objects | .findings // empty | .[]`
// finds every finding in both.
func writeJSON(o *output, r Report) {
	if len(r.Verdicts) == 1 && r.Verdicts[0].Name == "" {
		o.json(r.Verdicts[0].Verdict)
		return
	}
	list := verdictList{Kind: "VerdictList", Allowed: r.Allowed(), Undetermined: r.Undetermined(),
		Version: r.Version, Items: []item{}, Changes: append([]Change{}, r.Changes...)}
	for _, n := range r.Verdicts {
		list.Items = append(list.Items, item(n))
	}
	o.json(list)
}

// json writes a value in one line.
func (o *output) json(value any) {
	o.Write(o.marshal(value))
	o.WriteByte('\n')
}

// marshal gives the JSON of a value, without characters that are hidden.
func (o *output) marshal(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil && o.err == nil {
		o.err = err
	}
	return escapeHidden(data)
}

// escapeHidden writes what encoding/json passes on and what a terminal or a CI
// system's log would act on as \u escapes. The value stays the same.
func escapeHidden(data []byte) []byte {
	const hex = "0123456789abcdef"
	var out []byte
	done := 0
	for i := 0; i < len(data); {
		if data[i] < 0x7f { // most of it
			i++
			continue
		}
		c, n := utf8.DecodeRune(data[i:])
		if hidden(c) {
			out = append(out, data[done:i]...)
			for _, u := range utf16.Encode([]rune{c}) {
				out = append(out, '\\', 'u', hex[u>>12], hex[u>>8&15], hex[u>>4&15], hex[u&15])
			}
			done = i + n
		}
		i += n
	}
	if out = append(out, data[done:]...); !commandMarks.Match(out) {
		return out
	}
	return commandMarks.ReplaceAllFunc(out, func(m []byte) []byte { return append([]byte(`#\u0023`), m[2:]...) })
}
