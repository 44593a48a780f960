package reconcile

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/source"
)

func verdictOf(findings ...verdict.Finding) verdict.Verdict {
	b := verdict.NewBuilder("main@sha1:1", verdict.StageCommit)
	b.Stage(verdict.StageCommit, time.Now(), findings...)
	return b.Verdict()
}

// A denial that time may heal is asked again; any other waits for a new commit or
// configuration.
func TestJudgementFinal(t *testing.T) {
	deny := func(s verdict.Stage, r verdict.Reason) verdict.Finding {
		return verdict.Finding{Stage: s, Reason: r, Severity: verdict.Deny}
	}
	outage := verdict.Finding{Stage: verdict.StageImage, Reason: verdict.RegistryUnavailable, Severity: verdict.Undetermined}
	for name, tc := range map[string]struct {
		reason string
		v      verdict.Verdict
		want   bool
	}{
		"Zero":      {"Nothing was judged yet.", verdict.Verdict{}, false},
		"Allowed":   {"What passed and is not applied is applied again.", verdictOf(), false},
		"Unsigned":  {"A commit does not become signed.", verdictOf(deny(verdict.StageCommit, verdict.UnsignedCommit)), true},
		"Image":     {"The signature may be pushed after the image.", verdictOf(deny(verdict.StageImage, verdict.ImageUnsigned)), false},
		"NoRule":    {"No rule for the image: that is configuration.", verdictOf(deny(verdict.StageImage, verdict.ImageNotAllowed)), true},
		"Outage":    {"Not to know is not final.", verdictOf(outage), false},
		"Both":      {"A denial stays one whatever the registry would say.", verdictOf(outage, deny(verdict.StagePolicy, verdict.PolicyDenied)), true},
		"Cluster":   {"The cluster may change its mind.", verdictOf(deny(verdict.StageApply, verdict.DryRunRejected)), false},
		"Forgotten": {"A finding without a severity denies.", verdictOf(verdict.Finding{Stage: verdict.StageSecret, Reason: verdict.PlaintextSecret}), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (judgement{verdict: tc.v}).final(); got != tc.want {
				t.Errorf("%s\nfinal() = %t, want %t", tc.reason, got, tc.want)
			}
		})
	}
}

// A rollback tag that comes after the denial which asks for it is another question.
func TestQuestionCountsTags(t *testing.T) {
	without := &source.Result{Head: plumbing.NewHash("1")}
	with := &source.Result{Head: without.Head, Tags: []source.Tag{{Name: "x", Hash: plumbing.NewHash("2")}}}
	if (question{without.Head, tagHashes(without), "w"}) == (question{with.Head, tagHashes(with), "w"}) {
		t.Error("the tag makes no difference")
	}
}

// Texts that a repository or registry chose must not make a status too large to be
// written: nobody would learn why the revision is denied.
func TestStatusIsBounded(t *testing.T) {
	long := strings.Repeat("ä", 1<<20)
	var findings []verdict.Finding
	for range 100 {
		findings = append(findings, verdict.Finding{
			Reason: verdict.ImageNotAllowed, Message: long, Object: long, File: long, Field: long, Policy: long, Signer: long, Image: long, Commit: long,
		})
	}
	raw, err := json.Marshal(verdictStatus(verdictOf(findings...)))
	if err != nil || len(raw) > 64<<10 || strings.Contains(string(raw), "\ufffd") {
		t.Errorf("the status takes %d bytes (%v)", len(raw), err)
	}
}
