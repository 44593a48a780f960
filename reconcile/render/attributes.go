package render

import (
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"gitgate.dev/gitgate/policy/verdict"
)

// filters answer from .gitattributes whether a file has a Git filter. Such a file
// is a stand-in: what a checkout would show is made by a program from content that
// no signature covers. See gitattributes(5).
type filters struct {
	read func(dir string) ([]byte, *problem)
	dirs map[string][]filterRule
}

// A filterRule sets or clears the filter of the files that a pattern matches.
type filterRule struct {
	pattern string // relative to its directory; for any depth if anyDepth
	any     bool   // matches the base name at any depth
	name    string // the filter; empty clears it
}

// check refuses a file to which a filter applies. Rules in deeper directories
// come later, and the last rule that matches decides.
func (f *filters) check(name string) *problem {
	filter := ""
	dir := "."
	for rest := name; ; {
		rules, p := f.rules(dir)
		if p != nil {
			return p
		}
		for _, r := range rules {
			if r.matches(rest) {
				filter = r.name
			}
		}
		first, after, more := strings.Cut(rest, "/")
		if !more {
			break
		}
		dir, rest = path.Join(dir, first), after
	}
	if filter == "" {
		return nil
	}
	p := deny(verdict.UnsignedContent, 0,
		"%s has filter=%s in .gitattributes: its content is not part of the signed tree; commit the file itself", name, filter)
	return &p
}

func (f *filters) rules(dir string) ([]filterRule, *problem) {
	if rules, known := f.dirs[dir]; known {
		return rules, nil
	}
	raw, p := f.read(dir)
	if p != nil {
		return nil, p
	}
	rules := parseFilterRules(string(raw))
	f.dirs[dir] = rules
	return rules, nil
}

func parseFilterRules(text string) []filterRule {
	var out []filterRule
	macros := map[string]string{} // attribute macros that set a filter
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		filter, set := filterOf(fields[1:], macros)
		if macro, ok := strings.CutPrefix(fields[0], "[attr]"); ok {
			if set {
				macros[macro] = filter
			}
			continue
		}
		if set {
			pattern := strings.Trim(fields[0], `"`)
			anywhere := !strings.Contains(pattern, "/")
			out = append(out, filterRule{pattern: strings.TrimPrefix(pattern, "/"), any: anywhere, name: filter})
		}
	}
	return out
}

// filterOf returns the filter that a list of attributes sets, if it says anything
// about it.
func filterOf(attributes []string, macros map[string]string) (filter string, set bool) {
	for _, a := range attributes {
		switch {
		case a == "-filter" || a == "!filter":
			filter, set = "", true
		case a == "filter":
			filter, set = "true", true
		case strings.HasPrefix(a, "filter="):
			filter, set = strings.TrimPrefix(a, "filter="), true
		default:
			if m, ok := macros[a]; ok {
				filter, set = m, true
			}
		}
	}
	return filter, set
}

func (r filterRule) matches(name string) bool {
	if r.any {
		name = path.Base(name)
	}
	ok, err := doublestar.Match(r.pattern, name)
	return ok || err != nil // a pattern we cannot read might match
}
