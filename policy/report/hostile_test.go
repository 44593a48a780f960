package report

import (
	"fmt"
	"strings"
	"testing/fstest"

	"gitgate.dev/gitgate/policy/verdict"
)

var allStages = []verdict.Stage{verdict.StageCommit, verdict.StageRender, verdict.StageImage,
	verdict.StagePolicy, verdict.StageSecret}

var sources = fstest.MapFS{
	"deploy/web.yaml": {Data: []byte(`apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    spec:
      hostPID: true
      containers:
        - name: app
          image: ghcr.io/acme/web:1.0
          env:
            - name: DB_PASSWORD
              value: hunter2
`)},
	"deploy/secret.yaml": {Data: []byte("apiVersion: v1\nkind: Secret\nmetadata: {name: web}\nstringData:\n  greeting: hunter2\n")},
	"deploy/sops.yaml":   {Data: []byte("kind: ConfigMap\ndata:\n  greeting: ENC[AES256_GCM,data:aHVudGVyMg==]\n")},
}

// ordinary is a report as one sees it every day.
func ordinary() Report {
	shop := judge("main@sha1:8c4ad8e25d359964cc1cd3605758294d71005b35", 42, allStages, allStages...)(
		verdict.Finding{Stage: verdict.StageCommit, Reason: verdict.UnsignedCommit, Severity: verdict.Deny,
			Message: "commit by Alice <alice@example.com> is not signed", Commit: "6a286df2884c0a2f7b3c1d1e8f0a9b8c7d6e5f40"},
		verdict.Finding{Stage: verdict.StagePolicy, Reason: verdict.PolicyDenied, Severity: verdict.Deny,
			Message: "spec.template.spec.hostPID is true, which shares a namespace of the node: set it to false or remove it",
			Object:  "shop/Deployment.apps/web", File: "deploy/web.yaml", Line: 7, Field: "spec.template.spec.hostPID",
			Policy: "baseline/pod_security.baseline.deny_host_namespaces"},
		verdict.Finding{Stage: verdict.StageImage, Reason: verdict.RegistryUnavailable, Severity: verdict.Undetermined,
			Message: "ghcr.io/acme/web:1.0 cannot be resolved: --offline was given", Image: "ghcr.io/acme/web:1.0",
			Object: "shop/Deployment.apps/web", File: "deploy/web.yaml", Line: 10, Field: "spec.template.spec.containers[0].image"},
		verdict.Finding{Stage: verdict.StagePolicy, Reason: verdict.PolicyDenied, Severity: verdict.Warn,
			Message: "DB_PASSWORD is given in plaintext", Object: "shop/Deployment.apps/web", File: "deploy/web.yaml", Line: 13,
			Field: "spec.template.spec.containers[0].env[0].value", Policy: "acme/env.warn"},
		verdict.Finding{Stage: verdict.StageSecret, Reason: verdict.PlaintextSecret, Severity: verdict.Deny,
			Message: "the Secret holds plaintext in stringData.greeting", Object: "shop/Secret/web", File: "deploy/secret.yaml",
			Line: 5, Field: "stringData.greeting"},
		verdict.Finding{Stage: verdict.StageRender, Reason: verdict.InvalidManifest, Severity: verdict.Info,
			Message: "status is set by controllers and left out", File: "deploy/sops.yaml", Line: 3},
	)
	infra := judge("main@sha1:8c4ad8e25d359964cc1cd3605758294d71005b35", 7, allStages, allStages...)()
	late := judge("main@sha1:8c4ad8e25d359964cc1cd3605758294d71005b35", 3, allStages, verdict.StageCommit, verdict.StageRender)()
	return Report{
		Verdicts: []Named{{"team-shop/shop", shop}, {"gitgate-system/infra", infra}, {"team-late/late", late}},
		Changes: []Change{
			{Object: "shop/Deployment.apps/web", Action: Update, File: "deploy/web.yaml", Line: 1},
			{Object: "shop/Secret/web", Action: Create, File: "deploy/secret.yaml", Line: 1},
			{Object: "shop/ConfigMap/old", Action: Delete},
		},
		Files: sources, Version: "v0.4.0",
	}
}

// Texts that try to break out of where they are put.
var breakouts = []string{
	"\x1b[2J\x1b[31mred\x1b[0m\x07\x00\x9b1m",
	"line one\nline two\r\n::error file=x::injected\n##vso[task.setvariable variable=a]b\nnot ok 99 - injected",
	"::set-env name=PATH::/tmp", "##vso[task.complete result=Succeeded;]", "##[error]x", "##VSO[task.complete result=Succeeded;]",
	"]]></failure></testcase><testcase name=\"x\"/>", "--> <script>alert(1)</script> </details> <!--",
	"a | b | c \\| d", "``` ` ``code`` ````", "@everyone @octocat please see #123 and !45 and GH-7",
	"[click](https://evil.example.com) https://evil.example.com www.evil.example.com", "![x](javascript:alert(1))",
	"\u202egnp.exe\u2066\u2069\u200f\ufeff\u200b", "# SKIP # TODO \\# ", "...\n---\nkey: value", "100%25 %0A %AZP25 ; ] , :",
	"\xff\xfe invalid \xc3\x28", "\ufffe\uffff\U000e0041\u0085\u2028", "/merge", "{0} {{1}}", "'\"$(id)`id`", strings.Repeat("界", 120),
	strings.Repeat("x", 310), strings.Repeat("`", 40), "../../etc/passwd", "/abs:olute/a b%2f", "a:b/c?d#e",
}

// hostile holds every breakout in every field, at every severity.
func hostile() Report {
	var findings []verdict.Finding
	files := fstest.MapFS{}
	for i, s := range breakouts {
		findings = append(findings, verdict.Finding{
			Stage: allStages[i%4], Reason: verdict.Reason(clip(s, 2000)), Severity: severities[i%4],
			Message: s, Object: s, File: s, Line: i, Field: s, Policy: s, Signer: s, Image: s, Commit: s})
		name := fmt.Sprintf("f%d.yaml", i)
		findings = append(findings, verdict.Finding{Stage: verdict.StageRender, Reason: verdict.AmbiguousManifest, Severity: verdict.Deny,
			Message: s, File: name, Line: 2, Field: "spec." + s})
		files[name] = &fstest.MapFile{Data: []byte("a: 1\nb: " + strings.ReplaceAll(s, "\n", " ") + "\nc: 2\n")}
	}
	v := judge(breakouts[0], 1, allStages, allStages...)(findings...)
	r := Report{Files: files, Version: breakouts[1], Verdicts: []Named{{breakouts[2], v}, {"", verdict.Verdict{}}}}
	for i, s := range breakouts {
		r.Verdicts = append(r.Verdicts, Named{Name: s})
		r.Changes = append(r.Changes, Change{Object: s, Action: s, File: s, Line: i})
	}
	return r
}

// flood is more than anybody reads.
func flood(n int) Report {
	findings := make([]verdict.Finding, n)
	for i := range findings {
		findings[i] = verdict.Finding{Stage: verdict.StagePolicy, Reason: verdict.PolicyDenied, Severity: severities[i%4],
			Message: fmt.Sprintf("finding %d ", i) + strings.Repeat("x", 300), Object: fmt.Sprintf("ns/Pod/p%d", i),
			File: fmt.Sprintf("dir/%d.yaml", i/3), Line: 1 + i%3}
	}
	v := judge("main@sha1:0", n, allStages, allStages...)(findings...)
	r := Report{Verdicts: []Named{{"team/app", v}}, Files: sources}
	for i := range n {
		r.Changes = append(r.Changes, Change{Object: fmt.Sprintf("ns/Pod/p%d", i), Action: Update, File: "x.yaml", Line: i})
	}
	return r
}
