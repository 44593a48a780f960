package report

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"unicode"

	"gitgate.dev/gitgate/policy/verdict"
)

// Bounds of excerpts. Files that are larger have none.
const (
	maxExcerptFile  = 1 << 20
	maxExcerptLine  = 160 // bytes of a line that are shown
	maxExcerptFiles = 500 // files that are read for one report
)

// An excerpt is the line of a finding with its neighbours.
type excerpt struct {
	first  int      // number of the first line
	lines  []string // printable
	marked int      // index in lines of the one at fault
	column int      // 0-based place in that line, in runes
	width  int      // how many runes are at fault
}

// excerpts reads the sources of findings. It keeps the last file only, since
// findings come file by file.
type excerpts struct {
	files fs.FS
	read  int
	name  string
	lines [][]byte // nil when nothing of the file may be shown
}

// of finds the excerpt of a finding, or nil when there is none to be had or when
// it might show a secret. In doubt there is none.
func (x *excerpts) of(f verdict.Finding) *excerpt {
	if x.files == nil || f.File == "" || f.Line <= 0 || f.Stage == verdict.StageSecret || isSecret(f.Object) {
		return nil
	}
	if x.name != f.File {
		if x.read == maxExcerptFiles {
			return nil
		}
		x.read++
		x.name, x.lines = f.File, showable(x.files, f.File)
	}
	at := f.Line - 1
	if at >= len(x.lines) || len(bytes.TrimSpace(x.lines[at])) == 0 {
		return nil
	}
	// Names stand above values: the lines around decide as well.
	for _, line := range x.lines[max(0, at-4):min(len(x.lines), at+4)] {
		if credential(line) {
			return nil
		}
	}
	e := &excerpt{first: max(0, at-1) + 1}
	e.marked = at + 1 - e.first
	for _, line := range x.lines[e.first-1 : min(len(x.lines), at+2)] {
		e.lines = append(e.lines, shown(strings.ReplaceAll(string(line), "\t", "  "), maxExcerptLine))
	}
	e.column, e.width = fault(e.lines[e.marked], f.Field)
	return e
}

// showable reads a file that may be shown, and gives its lines.
func showable(files fs.FS, name string) [][]byte {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json", ".rego":
	default: // dotenv files and keys for secretGenerators, among others
		return nil
	}
	f, err := files.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxExcerptFile+1))
	if err != nil || len(data) > maxExcerptFile || secretFile.Match(data) {
		return nil
	}
	return bytes.Split(data, []byte("\n"))
}

// secretFile matches what stands in files that hold Secrets, encrypted or not, or
// of which kustomize makes Secrets. It need not be right of a file that hides its
// kind by intent: whoever wrote it knows the secret.
var secretFile = regexp.MustCompile(`ENC\[|stringData|secretGenerator|PRIVATE KEY|` +
	`(?m)^["'\s{]*sops["']?\s*:|` +
	`(^|[^\w.-])Secret(List)?($|[^\w-])|` + // as a kind, in whatever style
	`(?i)\bkind\b[^\n]*\\|\bkind\W{1,20}secret\b`)

// isSecret reports whether the name of an object is that of a Secret. Names come
// from a repository and may hold slashes, so every part counts.
func isSecret(object string) bool {
	for part := range strings.SplitSeq(object, "/") {
		kind, _, _ := strings.Cut(part, ".")
		if strings.EqualFold(kind, "Secret") || strings.EqualFold(kind, "SecretList") {
			return true
		}
	}
	return false
}

var (
	credentialWord = regexp.MustCompile(`(?i)passw|passphrase|pwd|token|secret|credential|api.?key|access.?key|private.?key|\bauths?\b|authorization|bearer|://[^/\s]*@`)
	// harmless values are switches and what is empty by its own word.
	harmless = regexp.MustCompile(`:\s*["']?(true|false|null|~|\{\}|\[\])["']?,?\s*$`)
	// blob is text that could be a key: long, and no digest.
	blob   = regexp.MustCompile(`[A-Za-z0-9+/_=-]{32,}`)
	digest = regexp.MustCompile(`\b(sha256:|sha1:)?[0-9a-f]{40,64}\b`)
)

// credential reports whether a line of a manifest that is no Secret might hold
// one all the same, as an environment variable does.
func credential(line []byte) bool {
	if len(line) > 64*maxExcerptLine {
		return true // nobody reads it
	}
	if credentialWord.Match(line) && !harmless.Match(line) {
		return true
	}
	for _, m := range blob.FindAll(digest.ReplaceAll(line, nil), -1) {
		if bytes.ContainsAny(m, "0123456789") && bytes.ContainsAny(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ=+") {
			return true
		}
	}
	return false
}

// fault finds what to underline of a line: the last key of the field when it
// stands there, and otherwise all text of the line.
func fault(line, field string) (column, width int) {
	if i := strings.LastIndexByte(field, '.'); i >= 0 {
		field = field[i+1:]
	}
	key, _, _ := strings.Cut(field, "[")
	for from := 0; key != ""; {
		i := strings.Index(line[from:], key)
		if i < 0 {
			break
		}
		start, end := from+i, from+i+len(key)
		after := strings.TrimLeft(strings.TrimLeft(line[end:], `"'`), " ")
		if (start == 0 || strings.IndexByte(" {,\"'-", line[start-1]) >= 0) && strings.HasPrefix(after, ":") {
			return columns(line[:start]), columns(key)
		}
		from = end
	}
	text := strings.TrimLeft(line, " -")
	if text == "" {
		text = strings.TrimLeft(line, " ")
	}
	start := len(line) - len(text)
	return columns(line[:start]), max(1, columns(strings.TrimRight(text, " ")))
}

// columns is how many columns of a terminal a printable string fills: none for
// combining characters, two for the wide ones of East Asia and for emoji.
func columns(s string) int {
	n := 0
	for _, c := range s {
		switch {
		case c < 0x300:
			n++
		case unicode.In(c, unicode.Mn, unicode.Me):
		case unicode.In(c, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana),
			c >= 0xff01 && c <= 0xff60, c >= 0x1f300 && c <= 0x1faff:
			n += 2
		default:
			n++
		}
	}
	return n
}
