package parity

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// A replay is what gitgate check --replay says of a log.
type replay struct {
	Same, Different, NotReplayed int
	Items                        []replayItem
}

type replayItem struct {
	Line                     int
	Door, What, Outcome, Why string
	Then, Now                string
	Gone, New                []json.RawMessage
	Changed                  []string
}

// replay has gitgate check make the decisions of a log again that contain a text.
func (s *site) replay(log, about string, args ...string) replay {
	s.t.Helper()
	raw, err := os.ReadFile(log)
	must(s.t, "the decision log", err)
	var mine bytes.Buffer
	for line := range bytes.Lines(raw) {
		if bytes.Contains(line, []byte(about)) && bytes.HasSuffix(line, []byte("\n")) {
			mine.Write(line)
		}
	}
	file := filepath.Join(s.t.TempDir(), "decisions.json")
	must(s.t, "the decision log", os.WriteFile(file, mine.Bytes(), 0o600))
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.Gitgate, append([]string{"check", "--repo", s.repo.Dir, "-c", s.configuration(),
		"--keys", s.keys, "--insecure-loopback-registries", "--replay", file, "-o", "json"}, args...)...)
	cmd.Env = []string{"HOME=" + s.home, "PATH=" + os.Getenv("PATH")}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // the exit code is looked at below
	var r replay
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		s.t.Fatalf("gitgate check --replay: %v, stderr %q, stdout %q", err, stderr.String(), stdout.String())
	}
	want := 0
	switch {
	case r.Different > 0:
		want = 1
	case r.NotReplayed > 0:
		want = 3
	}
	if code := cmd.ProcessState.ExitCode(); code != want {
		s.t.Errorf("gitgate check --replay: exit code %d, want %d", code, want)
	}
	return r
}

// replays proves that every decision of the reconciler about the site comes out the
// same, byte for byte, when it is made again.
func (s *site) replays() {
	s.t.Helper()
	r := s.replay(s.Server().Decisions, `"gitSync":"`+s.key().String()+`"`)
	if r.Same == 0 || r.Different+r.NotReplayed > 0 {
		s.t.Errorf("of the decisions made again %d are the same, %d differ, %d could not be made: %s", r.Same, r.Different, r.NotReplayed, r.differences())
	}
}

func (r replay) differences() string {
	var b strings.Builder
	for _, i := range r.Items {
		if i.Outcome != "same" {
			b.WriteString("\n" + i.What + ": " + i.Outcome + " " + i.Why + " " + strings.Join(i.Changed, "; ") + "\ngone\n" + texts(i.Gone) + "new\n" + texts(i.New))
		}
	}
	return b.String()
}

// TestReplay changes a rule, and the replay of the log shows just what that changes.
func TestReplay(t *testing.T) {
	w := begin(t)
	s := w.newSite(t, "replay", func(_ *site, p *plan) { p.sets = []*v1alpha1.PolicySet{policySet("replay-rules", replayRules)} })
	said := map[string]string{} // by revision
	last := s.base
	for _, c := range []gitrepo.Change{
		harmless(), files("a.yaml", lab.ConfigMap("a", "mode", "fast")), files("b.yaml", lab.ConfigMap("b", "mode", "slow")), w.unsigned(),
	} {
		head := s.commit(c)
		r, _ := s.reconcile(head)
		said[lab.Branch+"@sha1:"+head.String()] = texts(r.Findings)
		if r.Allowed {
			last = head
		} else {
			must(t, "the branch", s.repo.SetRef("refs/heads/"+lab.Branch, last))
		}
	}
	about := `"gitSync":"` + s.key().String() + `"`
	if r := s.replay(s.Server().Decisions, about); r.Same < len(said) || r.Different+r.NotReplayed > 0 {
		t.Fatalf("%d the same, %d differ, %d not replayed: %s", r.Same, r.Different, r.NotReplayed, r.differences())
	}
	s.plan.sets[0] = policySet("replay-rules", strings.Replace(replayRules, `"slow"`, `"fast"`, 1))
	r := s.replay(s.Server().Decisions, about)
	if r.Different != 2 || r.NotReplayed != 0 {
		t.Fatalf("after the change %d differ, %d are not replayed: %s", r.Different, r.NotReplayed, r.differences())
	}
	for _, i := range r.Items {
		then := said[strings.TrimPrefix(i.What, s.key().String()+" ")]
		switch {
		case i.Outcome == "same":
		case i.Now != "denied" || !strings.Contains(texts(i.New), `"object":"replay/ConfigMap/a"`) || len(i.New) != 1:
			t.Errorf("what is denied now: %+v", i)
		case strings.Contains(then, "no slow") != (i.Then == "denied") || texts(i.Gone) != then:
			t.Errorf("what was denied then: %+v", i)
		}
	}
	t.Run("Unknown", func(t *testing.T) {
		// A GitSync that the configuration does not have, and a commit that the
		// repository does not.
		s.plan.sync = s.plan.sync.DeepCopy()
		s.plan.sync.Name = "other"
		if r := s.replay(s.Server().Decisions, about); r.NotReplayed == 0 || r.Same+r.Different > 0 || !strings.Contains(r.Items[0].Why, "has no GitSync") {
			t.Errorf("%+v", r)
		}
	})
}

const replayRules = "package replay\n\ndeny contains \"no slow\" if input.object.data.mode == \"slow\"\n"
