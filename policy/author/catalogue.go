package author

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"gitgate.dev/gitgate/policy"
)

// A RuleDoc is what a rule that speaks says of itself in its METADATA. What it does
// not say is empty.
type RuleDoc struct {
	Package string `json:"package"`
	// Name is the rule's, as in deny_no_team.
	Name        string   `json:"name"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Severity    string   `json:"severity"`
	Remediation string   `json:"remediation"`
	References  []string `json:"references,omitempty"`
	File        string   `json:"file"`
	Line        int      `json:"line"`
}

// Catalogue lists the rules that speak in the modules of fsys, each once: by
// package, then in the order of files and lines. Tests are left out. It fails with
// a [*policy.LoadError] where a module does not parse.
func Catalogue(fsys fs.FS) ([]RuleDoc, error) { return Source{FS: fsys}.Catalogue() }

// Catalogue is [Catalogue] of a source.
func (s Source) Catalogue() ([]RuleDoc, error) {
	t, err := s.load(policy.Capabilities())
	if err != nil {
		return nil, err
	}
	var names []string
	docs := map[string]*RuleDoc{}
	annotations := map[string][]*ast.Annotations{}
	for _, file := range slices.Sorted(maps.Keys(t.policies())) {
		for _, rule := range t.modules[file].Rules {
			if !speaks(rule) || len(rule.Head.Args) > 0 {
				continue
			}
			name := fullName(rule)
			if docs[name] == nil {
				names = append(names, name)
				docs[name] = &RuleDoc{File: s.show(file), Line: rule.Location.Row}
			}
			annotations[name] = append(annotations[name], rule.Annotations...)
		}
	}
	out := make([]RuleDoc, 0, len(names))
	for _, name := range names {
		d := ruleDoc(annotations[name])
		d.File, d.Line = docs[name].File, docs[name].Line
		dot := strings.LastIndexByte(name, '.')
		d.Package, d.Name = name[:dot], name[dot+1:]
		out = append(out, d)
	}
	slices.SortStableFunc(out, func(a, b RuleDoc) int { return strings.Compare(a.Package, b.Package) })
	return out, nil
}

// ruleDoc merges annotations: the first word on anything counts.
func ruleDoc(annotations []*ast.Annotations) RuleDoc {
	var d RuleDoc
	for _, a := range annotations {
		severity, _ := a.Custom["severity"].(string)
		remediation, _ := a.Custom["remediation"].(string)
		d.Title, d.Description = cmp.Or(d.Title, a.Title), cmp.Or(d.Description, a.Description)
		d.Severity, d.Remediation = cmp.Or(d.Severity, severity), cmp.Or(d.Remediation, remediation)
		references, _ := a.Custom["references"].([]any)
		for _, r := range references {
			if text, ok := r.(string); ok {
				d.References = append(d.References, text)
			}
		}
		for _, r := range a.RelatedResources {
			d.References = append(d.References, r.Ref.String())
		}
	}
	return d
}

// WriteCatalogue writes rules as tables of Markdown, one for each package.
func WriteCatalogue(w io.Writer, docs []RuleDoc) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "\n%s.\n", counted(len(docs), "rule"))
	for i, d := range docs {
		if i == 0 || d.Package != docs[i-1].Package {
			fmt.Fprintf(out, "\n### %s\n\n| rule | severity | what it refuses | what to do | references |\n|---|---|---|---|---|\n", cell(d.Package))
		}
		what := cell(d.Description)
		if d.Title != "" {
			what = strings.TrimSpace(fmt.Sprintf("**%s.** %s", cell(strings.TrimSuffix(d.Title, ".")), what))
		}
		fmt.Fprintf(out, "| `%s` | %s | %s | %s | %s |\n", d.Name, cell(d.Severity), what, cell(d.Remediation), cell(strings.Join(d.References, "; ")))
	}
	fmt.Fprintln(out)
	return out.Flush()
}

// cell is a text in a table. METADATA may hold Markdown of its own, but neither
// break the table nor hide anything.
func cell(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(shown(strings.TrimSpace(s)), "|", `\|`), "<!--", "&lt;!--")
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// The marks between which a file holds a catalogue.
const (
	CatalogueStart = "<!-- catalogue -->\n"
	CatalogueEnd   = "<!-- /catalogue -->"
)

// InsertCatalogue puts the catalogue between the marks of a Markdown file. It fails
// where the file lacks them.
func InsertCatalogue(text string, docs []RuleDoc) (string, error) {
	head, rest, ok := strings.Cut(text, CatalogueStart)
	_, tail, ok2 := strings.Cut(rest, CatalogueEnd)
	if !ok || !ok2 {
		return "", fmt.Errorf("the file lacks the lines %s and %s, between which the catalogue goes", strings.TrimSpace(CatalogueStart), CatalogueEnd)
	}
	var b strings.Builder
	if err := WriteCatalogue(&b, docs); err != nil {
		return "", err
	}
	return head + CatalogueStart + b.String() + CatalogueEnd + tail, nil
}
