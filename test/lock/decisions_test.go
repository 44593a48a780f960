package lock

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"gitgate.dev/gitgate/webhook"
)

// decisions reads what all replicas have written down so far, from the given
// offsets on.
func (in *installation) decisions(from map[string]int64) ([]webhook.Decision, error) {
	var all []webhook.Decision
	for _, w := range in.replicas {
		path := w.Decisions
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		got, err := read(file, from[path])
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, got...)
	}
	return all, nil
}

func read(file io.ReadSeeker, from int64) ([]webhook.Decision, error) {
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return nil, err
	}
	var out []webhook.Decision
	for r := bufio.NewReader(file); ; {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return out, nil // the last line may be half written
		}
		if err != nil {
			return nil, err
		}
		if i := bytes.LastIndex(line, []byte(`{"time":`)); i > 0 {
			line = line[i:] // after half a line of a process that was killed
		}
		var d webhook.Decision
		if err := json.Unmarshal(line, &d); err != nil {
			return nil, fmt.Errorf("%w in %.300s", err, line)
		}
		out = append(out, d)
	}
}

// marks are the present ends of the decision logs.
func (in *installation) marks(t *testing.T) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	for _, w := range in.replicas {
		info, err := os.Stat(w.Decisions)
		must(t, "the decision log", err)
		out[w.Decisions] = info.Size()
	}
	return out
}

// final reports whether a decision refused something for good.
func final(d webhook.Decision) bool { return !d.Allowed && !d.Pending }

func attack(d webhook.Decision) bool { return slices.Contains(d.Groups, attackers) }

func describe(d webhook.Decision) string {
	return fmt.Sprintf("%s %s/%s %s/%s by %s (dry run: %t, matched %s, mode %s): %s %s", d.Operation, d.Resource, d.Subresource,
		d.Namespace, d.Name, d.User, d.DryRun, d.Matched, d.Mode, d.Reason, d.Message)
}

// calm fails the test over every denial of what is no attack, over every attack
// that was let through, and over decisions that were not written down.
func (in *installation) calm(t *testing.T, from map[string]int64) {
	t.Helper()
	all, err := in.decisions(from)
	must(t, "reading the decision logs", err)
	var attacks, pending int
	for _, d := range all {
		switch {
		case d.Lost > 0:
			t.Errorf("%d decisions were not written down", d.Lost)
		case attack(d) && d.Allowed:
			t.Errorf("an attack passed: %s", describe(d))
		case attack(d):
			attacks++
		case final(d):
			t.Errorf("what is legitimate was denied: %s", describe(d))
		case d.Pending:
			pending++
		}
	}
	if attacks == 0 {
		t.Error("no attack was judged")
	}
	t.Logf("%d decisions: %d refused attacks, %d answers that something legitimate is to be asked again", len(all), attacks, pending)
}

// A witness is a write that must have passed the webhook.
type witness struct{ user, operation, resource, namespace string }

func (w witness) is(d webhook.Decision) bool {
	resource := d.Resource
	if d.Subresource != "" {
		resource += "/" + d.Subresource
	}
	return d.Allowed && !d.DryRun && d.User == w.user && d.Operation == w.operation && resource == w.resource && strings.HasPrefix(d.Namespace, w.namespace)
}

// witnessed waits until each write has passed.
func (in *installation) witnessed(t *testing.T, from map[string]int64, want ...witness) {
	t.Helper()
	eventually(t, "the writes of controllers", func(context.Context) error {
		all, err := in.decisions(from)
		if err != nil {
			return err
		}
		want = slices.DeleteFunc(want, func(w witness) bool { return slices.ContainsFunc(all, w.is) })
		if len(want) > 0 {
			return fmt.Errorf("none of %v yet", want)
		}
		return nil
	})
}
