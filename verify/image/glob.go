package image

import (
	"errors"
	"regexp"
	"strings"
)

// A glob matches whole normalised repositories.
type glob struct {
	text    string
	pattern *regexp.Regexp
}

var reGlob = regexp.MustCompile(`^[a-z0-9._/:*-]+$`)

// compileGlob reads a pattern as ClusterImagePolicy of sigstore's
// policy-controller does: "*" is anything but a slash, "**" anything.
func compileGlob(text string) (glob, error) {
	switch {
	case text == "":
		return glob{}, errors.New("the pattern is empty")
	case strings.Contains(text, "@"):
		return glob{}, errors.New("a pattern matches repositories: leave the digest out")
	case !reGlob.MatchString(text):
		return glob{}, errors.New("only lower-case letters, digits, . _ - / : and * may stand in a pattern")
	case strings.Contains(text, "***"):
		return glob{}, errors.New("more than two stars in a row")
	}
	full, err := normaliseGlob(text)
	if err != nil {
		return glob{}, err
	}
	var b strings.Builder
	b.WriteString(`\A`)
	for i := 0; i < len(full); i++ {
		switch {
		case strings.HasPrefix(full[i:], "**"):
			b.WriteString(`.*`)
			i++
		case full[i] == '*':
			b.WriteString(`[^/]*`)
		default:
			b.WriteString(regexp.QuoteMeta(full[i : i+1]))
		}
	}
	b.WriteString(`\z`)
	pattern, err := regexp.Compile(b.String())
	if err != nil {
		return glob{}, err
	}
	return glob{text, pattern}, nil
}

// normaliseGlob spells the pattern's registry as references are normalised.
func normaliseGlob(text string) (string, error) {
	if strings.HasPrefix(text, "**") {
		return text, nil // spans registries
	}
	host, path := splitHost(text)
	if strings.Contains(path, ":") || !strings.Contains(text, "/") && strings.Contains(text, ":") {
		return "", errors.New("a pattern matches repositories: leave the tag out")
	}
	if path == "" || strings.HasPrefix(path, "/") || strings.Contains(path, "//") || strings.HasSuffix(path, "/") {
		return "", errors.New("a path segment is empty")
	}
	if !strings.Contains(host, "*") {
		var err error
		if host, err = normaliseHost(host); err != nil {
			return "", err
		}
	} else if strings.HasSuffix(host, ":443") {
		host = strings.TrimSuffix(host, ":443")
	}
	if host == dockerHub && !strings.Contains(path, "/") && !strings.Contains(path, "**") {
		path = "library/" + path
	}
	return host + "/" + path, nil
}

func (g glob) match(repository string) bool { return g.pattern.MatchString(repository) }
