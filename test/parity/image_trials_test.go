package parity

import (
	"strings"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// imageTrials are commits that differ in the images that they run.
func (w *world) imageTrials() map[string]trial {
	i := &w.images
	runs := func(image string) gitrepo.Change { return files("app.yaml", lab.Deployment("app", image, 1)) }
	good, evil := lab.Deployment("app", i.web.Pinned(), 1), i.unsigned.Name
	container := "- name: evil\n          image: " + evil + "\n          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}\n"
	engine := func(kind string) string {
		return "apiVersion: parity.example.com/v1\nkind: " + kind + "\nmetadata: {name: e}\nspec:\n  image: " + evil + "\n"
	}
	required := func(_ *site, p *plan) { p.trust.Spec.Images.Digest = "Required" }
	return map[string]trial{
		"Digest":       {reason: "A signed image by its digest.", change: runs(i.web.Pinned())},
		"Resolved":     {reason: "A signed image by its tag.", change: runs(i.web.Name)},
		"TagAndDigest": {reason: "By both.", change: runs(i.web.Name + "@" + i.web.Digest)},
		"Bundle":       {reason: "Signed in the newer layout.", change: runs(i.bundled.Pinned())},
		"Tagged":       {reason: "Signed in the older layout.", change: runs(i.tagged.Pinned())},
		"Index":        {reason: "A signed index.", change: runs(i.index.Pinned())},
		"Open":         {reason: "A rule asks for no signature.", change: runs(w.Registry.Name("open/app@" + i.web.Digest))},
		"NoImages":     {reason: "Nothing runs any more.", change: files("web.yaml", ""), want: nil},

		"Unsigned":       {reason: "Nobody signed it.", change: runs(i.unsigned.Pinned()), want: reasons(verdict.ImageUnsigned)},
		"UnsignedTag":    {reason: "Nobody signed what the tag names.", change: runs(i.unsigned.Name), want: reasons(verdict.ImageUnsigned)},
		"Child":          {reason: "The index is signed, and not its child.", change: runs(i.index.Child(0).Pinned()), want: reasons(verdict.ImageUnsigned)},
		"Foreign":        {reason: "Somebody else signed it.", change: runs(i.foreign.Pinned()), want: reasons(verdict.ImageUntrusted)},
		"Copied":         {reason: "Under the signature of another image.", change: runs(i.copied.Pinned()), want: reasons(verdict.ImageUntrusted)},
		"Altered":        {reason: "A signature that is none.", change: runs(i.altered.Pinned()), want: reasons(verdict.ImageUntrusted)},
		"SecondRule":     {reason: "Every rule that matches must be satisfied.", change: runs(i.twice.Pinned()), want: reasons(verdict.ImageUntrusted)},
		"Unlisted":       {reason: "No rule names it.", change: runs("docker.io/library/nginx:1.27"), want: reasons(verdict.ImageNotAllowed)},
		"Short":          {reason: "Nor its short name.", change: runs("nginx"), want: reasons(verdict.ImageNotAllowed)},
		"Banned":         {reason: "A rule denies it.", change: runs(w.Registry.Name("banned/app@" + i.web.Digest)), want: reasons(verdict.ImageNotAllowed)},
		"NoReference":    {reason: "No name of an image.", change: runs("'Not/An_Image:::'"), want: reasons(verdict.ImageNotAllowed)},
		"TagNotEnough":   {reason: "A digest is required.", plan: required, change: runs(i.web.Name), want: reasons(verdict.ImageNotPinned)},
		"DigestRequired": {reason: "And given.", plan: required, change: runs(i.web.Pinned())},
		"NoSuchTag":      {reason: "The registry has no such tag.", change: runs(i.web.Repository + ":9"), want: reasons(verdict.RegistryUnavailable)},
		"NoSuchDigest":   {reason: "Nor such a digest.", change: runs(i.web.Repository + "@sha256:" + strings.Repeat("ab", 32)), want: reasons(verdict.ImageUnsigned)},
		"Down":           {reason: "A registry that does not answer.", change: runs(i.flakyImage("down")), want: reasons(verdict.RegistryUnavailable)},
		"Forbidden":      {reason: "A registry that does not let in.", change: runs(i.flakyImage("forbidden")), want: reasons(verdict.RegistryUnavailable)},
		"Gone":           {reason: "A registry that has lost what it had.", change: runs(i.flakyImage("gone")), want: reasons(verdict.RegistryUnavailable)},
		"Huge":           {reason: "A registry that does not stop.", change: runs(i.flakyImage("huge")), want: reasons(verdict.RegistryLimit)},
		"Init":           {reason: "Init containers count.", change: files("app.yaml", good+"      initContainers:\n        "+container), want: reasons(verdict.ImageUnsigned)},
		"Second":         {reason: "So do others beside the first.", change: files("app.yaml", good+"        "+container), want: reasons(verdict.ImageUnsigned)},
		"Volume":         {reason: "So do volumes of images.", change: files("app.yaml", good+"      volumes:\n        - name: evil\n          image: {reference: "+evil+"}\n"), want: reasons(verdict.ImageUnsigned)},
		"Cron":           {reason: "So do templates of templates.", change: files("job.yaml", cronJob(evil)), want: reasons(verdict.ImageUnsigned)},
		"Declared":       {reason: "So do custom kinds of which it is known where.", change: files("e.yaml", engine("Engine")), want: reasons(verdict.ImageUnsigned, verdict.SchemaInvalid)},
		"Undeclared":     {reason: "Where it is not known, nothing passes.", change: files("e.yaml", engine("Machine")), want: reasons(verdict.SchemaInvalid, verdict.UncoveredImage)},
		"Attested":       {reason: "Attested as it must be.", plan: w.attested(false, nil), change: runs(i.attested.Pinned())},
		"Unattested":     {reason: "A provenance is required, and there is none.", plan: w.attested(false, nil), change: runs(i.web.Pinned()), want: reasons(verdict.AttestationMissing), says: "cosign attest"},
		"Misattested":    {reason: "Somebody else attested it.", plan: w.attested(false, nil), change: runs(i.misattested.Pinned()), want: reasons(verdict.AttestationInvalid), says: "not signed by the key of release"},
		"NoProvenance":   {reason: "A rule wants one.", plan: w.attested(true, provenanceRules("image-noprovenance")), change: runs(i.web.Pinned()), want: reasons(verdict.PolicyDenied), says: "of which no provenance was verified"},
		"NoneThatCounts": {reason: "One of somebody else is none.", plan: w.attested(true, provenanceRules("image-nonethatcounts")), change: runs(i.misattested.Pinned()), want: reasons(verdict.PolicyDenied), says: "of which no provenance was verified"},
		"OldBuild":       {reason: "One that is old.", plan: w.attested(true, provenanceRules("image-oldbuild")), change: runs(i.attested.Pinned()), want: reasons(verdict.PolicyDenied), says: "whose build finished at 2020-01-01T00:00:00Z, not within the last 30 days"},
		"AllAtOnce": {reason: "Each image is told of, in one order.",
			change: files("b.yaml", lab.Deployment("b", i.unsigned.Pinned(), 1), "a.yaml", lab.Deployment("a", i.foreign.Pinned(), 1), "c.yaml", lab.Deployment("c", "nginx", 12)),
			want:   reasons(verdict.ImageNotAllowed, verdict.ImageUnsigned, verdict.ImageUntrusted, verdict.PolicyDenied)},
	}
}

func cronJob(image string) string {
	return "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: job}\nspec:\n  schedule: \"0 0 * * *\"\n  jobTemplate:\n    spec:\n      template:\n        spec:\n" +
		"          restartPolicy: Never\n          securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}\n          containers:\n            - name: job\n              image: " + image + "\n" +
		"              securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}\n"
}
