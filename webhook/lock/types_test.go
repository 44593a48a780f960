package lock

import "testing"

func TestStrictest(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		modes  []Mode
		want   Mode
	}{
		"None":         {"Nobody asks for anything.", nil, Off},
		"Off":          {"Off is no more than nothing.", []Mode{Off, Off}, Off},
		"Audit":        {"The order does not matter.", []Mode{Audit, Off}, Audit},
		"Enforce":      {"The strictest counts, wherever it stands.", []Mode{Off, Audit, Enforce, Audit}, Enforce},
		"Empty":        {"A mode that nobody set is not Off.", []Mode{""}, Enforce},
		"Unknown":      {"What a later version may mean is not guessed.", []Mode{Audit, "Warn"}, Enforce},
		"EnforceFirst": {"An unknown mode adds nothing to Enforce.", []Mode{Enforce, ""}, Enforce},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Strictest(tc.modes...); got != tc.want {
				t.Errorf("%s\nStrictest(%q) = %q, want %q", tc.reason, tc.modes, got, tc.want)
			}
		})
	}
}
