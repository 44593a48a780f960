package main

import (
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
)

// At admission there is somebody who asks and no commit.
func TestAdmissionContext(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, rule, want string
		severity           verdict.Severity
	}{
		"User":      {"Who asks is known.", `deny contains input.userInfo.username if input.userInfo.extra.team[_] == "red"`, "eve", verdict.Deny},
		"Commit":    {"A commit is not.", `deny contains "x" if not "alice" in input.commit.signers`, "input.commit", verdict.Undetermined},
		"Images":    {"An object that runs nothing has no images.", `deny contains "x" if count(input.images) == 0`, "x", verdict.Deny},
		"Namespace": {"Nor the Namespace.", `deny contains "x" if input.namespace.metadata.name`, "input.namespace", verdict.Undetermined},
		"Old":       {"What is replaced is known.", `deny contains "old" if not input.oldObject.data.k`, "old", verdict.Deny},
	} {
		t.Run(name, func(t *testing.T) {
			j := &admissionJudge{images: &verifiedImages{}}
			set := admissionSet("s", "Enforce", "package a\n"+tc.rule)
			if err := j.build(t.Context(), &gates{lastGood: map[string]goodSet{}}, []reconcile.PolicyInput{set}, nil); err != nil {
				t.Fatal(err)
			}
			req := review("ConfigMap", "", evil, good)
			req.UserInfo = authenticationv1.UserInfo{Username: "eve", Extra: map[string]authenticationv1.ExtraValue{"team": {"red"}}}
			got := j.Judge(t.Context(), req)
			if len(got) != 1 || got[0].Severity != tc.severity || !strings.Contains(got[0].Message, tc.want) {
				t.Errorf("%s\nfindings %v, want one %s with %q", tc.reason, got, tc.severity, tc.want)
			}
		})
	}
}

// What the gate does not say is not known.
func TestRuleInput(t *testing.T) {
	in := ruleInput(gate.PolicyInput{})
	if in.Images != nil || in.User != nil || in.Commit != nil || in.None != 0 {
		t.Errorf("ruleInput() = %+v", in)
	}
}
