package lock

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/verdict"
)

// maxShown bounds how much of a value is shown, and maxChanges how many changes.
const (
	maxShown   = 80
	maxChanges = 4
)

// String names the object for people.
func (k key) String() string {
	s := k.resource
	if k.group != "" {
		s += "." + k.group
	}
	if k.namespace != "" {
		return s + " " + k.namespace + "/" + k.name
	}
	return s + " " + k.name
}

// what names what is asked about.
func (r *review) what() string {
	kind := r.req.Kind.Kind
	k := r.key
	if k.resource == "" {
		k = key{r.req.Resource.Group, r.req.Resource.Resource, r.req.Namespace, r.req.Name}
	}
	if r.sub != "" || kind == "" {
		kind = k.resource
		if r.sub != "" {
			kind += "/" + r.sub
		}
	} else if k.group != "" {
		kind += "." + k.group
	}
	name := clip(k.name)
	if name == "" {
		name = "(without a name)"
	}
	if k.namespace != "" {
		name = clip(k.namespace) + "/" + name
	}
	return kind + " " + name
}

// message words a denial for whoever asked, and makes its findings.
func (g *ruling) message(r *review) string {
	var b strings.Builder
	if len(g.findings) > 0 && g.why == "" { // a judge has spoken
		for i, f := range g.findings {
			if i > 0 {
				b.WriteByte('\n')
			}
			fmt.Fprintf(&b, "%s: %s", f.Reason, f.Message)
		}
		return b.String()
	}
	fmt.Fprintf(&b, "%s: %s", g.reason, g.why)
	secret := r.req.Resource.Group == "" && r.req.Resource.Resource == "secrets"
	for i, c := range g.changes {
		if i == maxChanges {
			fmt.Fprintf(&b, "\n  and %d more fields", len(g.changes)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %s: %s", clipTo(c.Path.String(), 200), g.compare(c, secret))
	}
	if where := g.where(); where != "" {
		fmt.Fprintf(&b, "\n  Git: %s", where)
	}
	b.WriteString(g.held())
	if next := g.advice(r); next != "" {
		fmt.Fprintf(&b, "\n  Next: %s", next)
	}
	g.find(r, secret)
	return b.String()
}

// compare says what Git has and what was tried.
func compare(c desired.Change, secret bool) string {
	if secret {
		switch {
		case c.Old == nil:
			return "Git does not have it"
		case c.New == nil:
			return "Git has it, and it would go"
		}
		return "Git says otherwise (values of Secrets are not shown)"
	}
	switch {
	case c.Reserved:
		return "is left to the controller that keeps it"
	case c.Old == nil:
		return "not in Git, tried " + show(c.New)
	case c.New == nil:
		return "Git says " + show(c.Old) + ", tried to remove it"
	}
	return "Git says " + show(c.Old) + ", tried " + show(c.New)
}

// show renders a value, cut to what can be read at a glance.
func show(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return "(a value that cannot be shown)"
	}
	return clip(strings.ReplaceAll(string(raw), verified+`"`, ` at a verified digest"`))
}

func clip(s string) string { return clipTo(s, maxShown) }

// clipTo cuts a text, between characters, and takes control characters out.
func clipTo(s string, most int) string {
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == utf8.RuneError {
			return '?'
		}
		return c
	}, s)
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// where says where in Git the object is.
func (g *ruling) where() string {
	rel := g.release
	if rel == nil {
		return ""
	}
	at := ""
	if g.entry != nil && g.entry.file != "" {
		at = g.entry.place() + " at "
	}
	return at + rel.revision + ", GitSync " + rel.sync.String()
}

// place is file:line.
func (e *entry) place() string {
	if e.line > 0 {
		return e.file + ":" + strconv.Itoa(int(e.line))
	}
	return e.file
}

// advice says what to do instead.
func (g *ruling) advice(r *review) string {
	switch {
	case g.next != "":
		return g.next
	case g.pending:
		return "nothing, the same request passes as soon as this replica has caught up"
	case g.final:
		return ""
	case g.entry != nil && (g.entry.frozen != "" || g.reason == verdict.RevisionRefused):
		return g.thaw(r)
	}
	commit := "commit it to the repository"
	if g.entry != nil && g.entry.file != "" {
		commit = "commit the change to " + g.entry.place()
	}
	return commit + "; whoever the TrustPolicy lets sign for that path may. In an emergency: " + r.breakglass()
}

// plainUser are the characters that a shell takes as they are.
const plainUser = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@.:_-"

// breakglass is the command that asks for a grant for this request.
func (r *review) breakglass() string {
	resource := r.key.resource
	if r.key.group != "" {
		resource += "." + r.key.group
	}
	if r.sub != "" {
		resource += "/" + r.sub
	}
	cmd := "gitgate breakglass request --verb " + strings.ToLower(string(r.req.Operation)) + " --resource " + clip(resource)
	if r.key.namespace != "" {
		cmd += " --namespace " + clip(r.key.namespace)
	}
	if r.key.name != "" {
		cmd += " --name " + clip(r.key.name)
	}
	if user := r.writer.User; user != "" && !strings.HasPrefix(user, "system:") {
		if strings.ContainsFunc(user, func(c rune) bool { return !strings.ContainsRune(plainUser, c) }) {
			user = "'" + strings.ReplaceAll(user, "'", "") + "'"
		}
		cmd += " --as " + clip(user)
	}
	return cmd + ` --reason "why"`
}

// find makes the findings of a ruling that denies.
func (g *ruling) find(r *review, secret bool) {
	base := verdict.Finding{
		Stage: verdict.StageAdmission, Reason: g.reason, Severity: verdict.Deny, Message: g.why, Object: r.what(),
	}
	if g.pending {
		base.Severity = verdict.Undetermined
	}
	if g.entry != nil {
		base.File, base.Line = g.entry.file, int(g.entry.line)
	}
	if g.release != nil {
		if _, hash, ok := strings.Cut(g.release.revision, ":"); ok {
			base.Commit = hash
		}
	}
	if len(g.changes) == 0 {
		g.findings = append(g.findings, base)
		return
	}
	for i, c := range g.changes {
		if i == maxFindings {
			break
		}
		f := base
		f.Field = clipTo(c.Path.String(), 200)
		f.Message = f.Field + ": " + g.compare(c, secret)
		g.findings = append(g.findings, f)
	}
}

// maxFindings bounds the findings of one ruling.
const maxFindings = 20

// maxWarning is what the API server passes on of one warning; RFC 7234 has no
// room for line breaks in it.
const maxWarning = 240

// warning cuts a text into warnings.
func warning(text string) []string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, clipTo(line, maxWarning))
		}
	}
	return out
}
