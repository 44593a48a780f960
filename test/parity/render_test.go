package parity

import (
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// configMap is a manifest of six lines, of which the last is the given one.
func configMap(line string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: more\ndata:\n  " + line + "\n"
}

// renderTrials are commits that differ in what their files are.
func (w *world) renderTrials() map[string]trial {
	return merged(w.yamlTrials(), w.kustomizeTrials(), w.scopeTrials())
}

// yamlTrials are about single files.
func (w *world) yamlTrials() map[string]trial {
	bomb := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 10; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), i-1)
	}
	pod := "{apiVersion: v1, kind: Pod, metadata: {name: p}}"
	out := map[string]trial{}
	for name, tc := range map[string]struct {
		reason, text string
		want         verdict.Reason
	}{
		"Syntax":       {"No YAML.", configMap("k: ["), verdict.InvalidManifest},
		"Duplicate":    {"A key twice.", configMap("k: a\n  k: b"), verdict.AmbiguousManifest},
		"Case":         {"Keys that differ by case alone.", configMap("k: a\nData: {}"), verdict.AmbiguousManifest},
		"Number":       {"A number that would lose digits.", configMap("k: 123456789012345678901234567890"), verdict.AmbiguousManifest},
		"KeyNotText":   {"A key that is read as a boolean by some.", configMap("yes: a"), verdict.AmbiguousManifest},
		"Tag":          {"A tag that asks for code.", configMap("k: !!python/object/apply:os.system [id]"), verdict.InvalidManifest},
		"ByteOrder":    {"A byte order mark.", "\xef\xbb\xbf" + configMap("k: v"), verdict.InvalidManifest},
		"NUL":          {"A NUL byte.", configMap("k: \"x\x00y\""), verdict.InvalidManifest},
		"NotUTF8":      {"Bytes that are no text.", configMap("k: \"\xff\xfe\""), verdict.InvalidManifest},
		"AliasBomb":    {"Aliases that multiply.", bomb, verdict.LimitExceeded},
		"Deep":         {"Values that nest too deep.", configMap("k: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000)), verdict.LimitExceeded},
		"NoKind":       {"An object without a kind.", "apiVersion: v1\nmetadata: {name: more}\n", verdict.InvalidManifest},
		"NoName":       {"An object without a name.", "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n", verdict.InvalidManifest},
		"GenerateName": {"A name that the server makes.", "apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: p-\n", verdict.InvalidManifest},
		"Text":         {"A document that is no object.", configMap("k: v\n---\nhello"), verdict.InvalidManifest},
		"NestedList":   {"Lists do not nest.", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items: [" + pod + "]\n", verdict.InvalidManifest},
		"MetadataList": {"Metadata that is a list.", "apiVersion: v1\nkind: ConfigMap\nmetadata: []\n", verdict.InvalidManifest},
		"Merge":        {"A merge key after what it may override.", configMap("k: v\n  <<: {k: w}"), verdict.AmbiguousManifest},
		"Declared":     {"An object that another file declares too.", lab.ConfigMap("settings", "color", "blue"), verdict.AmbiguousManifest},
		"HugeManifest": {"A file that is too large.", lab.ConfigMap("more", "k", strings.Repeat("x", 5<<20)), verdict.LimitExceeded},
		"LFS":          {"A pointer to a file that is somewhere else.", "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("ab", 32) + "\nsize 12345\n", verdict.UnsignedContent},
	} {
		out[name] = trial{reason: tc.reason, change: files("more.yaml", tc.text), want: reasons(tc.want)}
	}
	out["ContainerText"] = trial{reason: "Containers that are no list: two stages say so.",
		change: files("more.yaml", edited(lab.Deployment("more", "x", 1), "      containers:\n        - name: app\n          image: x\n          securityContext:\n            allowPrivilegeEscalation: false\n            capabilities: {drop: [ALL]}\n", "      containers: all\n")),
		want:   reasons(verdict.InvalidManifest, verdict.PolicyDenied, verdict.SchemaInvalid)}
	out["JSON"] = trial{reason: "A manifest in JSON.", change: files("more.json", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"more"},"data":{"debug":"true"}}`), want: reasons(verdict.PolicyDenied)}
	out["Documents"] = trial{reason: "The second document of a file is at its own line.",
		change: files("more.yaml", configMap("k: v")+"---\n"+edited(configMap("debug: \"true\""), "name: more", "name: most")), want: reasons(verdict.PolicyDenied)}
	out["List"] = trial{reason: "What a list holds is judged as if it stood alone.",
		change: files("more.yaml", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: more}\n  data:\n    debug: \"true\"\n"), want: reasons(verdict.PolicyDenied)}
	out["LeftOut"] = trial{reason: "What is not for the cluster is told of, and passes.",
		change: files("more.yaml", edited(configMap("k: v"), "name: more", "name: more\n  annotations: {config.kubernetes.io/local-config: \"true\"}")), want: reasons(verdict.InvalidManifest)}
	out["Filter"] = trial{reason: "A filter that would change the content.",
		change: gitrepo.Change{Files: map[string]string{".gitattributes": "*.yaml filter=lfs\n"}}, want: reasons(verdict.UnsignedContent)}
	out["Submodule"] = trial{reason: "Content of another repository.",
		change: gitrepo.Change{Submodules: map[string]plumbing.Hash{"deploy/sub": plumbing.NewHash(strings.Repeat("12", 20))}}, want: reasons(verdict.UnsignedContent)}
	out["Symlink"] = trial{reason: "A link to a file of the machine.",
		change: gitrepo.Change{Symlinks: map[string]string{"deploy/link.yaml": "/var/run/secrets/kubernetes.io/serviceaccount/token"}}, want: reasons(verdict.PathEscape)}
	out["Empty"] = trial{reason: "Nothing would be left.", change: gitrepo.Change{Delete: []string{"deploy"}, Files: map[string]string{"deploy/README": "soon\n"}}, want: reasons(verdict.EmptyRelease)}
	out["NoPath"] = trial{reason: "The path is gone.", change: gitrepo.Change{Delete: []string{"deploy"}}, want: reasons(verdict.InvalidManifest)}
	out["Several"] = trial{reason: "All that is wrong, in one order.",
		change: files("b.yaml", configMap("k: ["), "a.yaml", configMap("k: a\n  k: b"), "c.yaml", "apiVersion: v1\nmetadata: {name: c}\n"),
		want:   reasons(verdict.AmbiguousManifest, verdict.InvalidManifest)}
	return out
}

// kustomizeTrials are about trees that kustomize builds.
func (w *world) kustomizeTrials() map[string]trial {
	kustomization := func(text string, more ...string) gitrepo.Change {
		return files(append([]string{"kustomization.yaml", "resources: [web.yaml, settings.yaml, kept.yaml, spare.yaml]\n" + text}, more...)...)
	}
	loud := lab.ConfigMap("loud", "color", "red")
	doubling := files("kustomization.yaml", "resources: [web.yaml, settings.yaml, kept.yaml, spare.yaml, l0]\n")
	for i := range 12 {
		doubling.Files[fmt.Sprintf("deploy/l%d/kustomization.yaml", i)] = fmt.Sprintf("resources: [../a%d, ../b%d]\n", i, i)
		for _, side := range []string{"a", "b"} {
			doubling.Files[fmt.Sprintf("deploy/%s%d/kustomization.yaml", side, i)] = fmt.Sprintf("namePrefix: %s\nresources: [../l%d]\n", side, i+1)
		}
	}
	doubling.Files["deploy/l12/kustomization.yaml"], doubling.Files["deploy/l12/x.yaml"] = "resources: [x.yaml]\n", configMap("k: v")
	link := kustomization("configMapGenerator:\n- {name: stolen, files: [token]}\n")
	link.Symlinks = map[string]string{"deploy/token": "/etc/passwd"}
	return map[string]trial{
		"Kustomize": {reason: "The same objects through kustomize.", change: kustomization("")},
		"Overlay": {reason: "A finding stands where the object came from, through base and overlay.",
			change: kustomization("components: []\n", "base/kustomization.yaml", "resources: [loud.yaml]\n", "base/loud.yaml", loud,
				"kustomization.yaml", "resources: [web.yaml, settings.yaml, kept.yaml, spare.yaml, base]\ncommonAnnotations: {team: shop}\n"),
			want: reasons(verdict.PolicyDenied)},
		"Patched": {reason: "What a patch makes is judged.",
			change: kustomization("patches:\n- target: {kind: ConfigMap, name: spare}\n  patch: |\n    - {op: add, path: /data/debug, value: \"true\"}\n"), want: reasons(verdict.PolicyDenied)},
		"Generated": {reason: "What is generated is judged, under its hash.",
			change: kustomization("configMapGenerator:\n- name: made\n  literals: [debug=true]\n"), want: reasons(verdict.PolicyDenied)},
		"Replicas": {reason: "So is what a field of the kustomization makes.", change: kustomization("replicas: [{name: web, count: 12}]\n"), want: reasons(verdict.PolicyDenied)},
		"Images":   {reason: "And an image that it names.", change: kustomization("images: [{name: " + w.images.web.Repository + ", newTag: \"2\"}]\n"), want: reasons(verdict.RegistryUnavailable)},

		"Remote":       {reason: "A base of another server.", change: kustomization("components:\n- https://git.example.com/acme/base.git?ref=main\n"), want: reasons(verdict.RemoteInput)},
		"Helm":         {reason: "A chart.", change: kustomization("helmCharts:\n- {name: x, repo: https://charts.example.com}\n"), want: reasons(verdict.RemoteInput)},
		"Plugin":       {reason: "A program.", change: kustomization("transformers:\n- |\n  apiVersion: someteam.example.com/v1\n  kind: Thing\n  metadata: {name: x}\n"), want: reasons(verdict.RemoteInput)},
		"Climb":        {reason: "A path out of the repository.", change: kustomization("patches:\n- path: ../../../etc/passwd\n"), want: reasons(verdict.PathEscape)},
		"LinkedFile":   {reason: "A link out of the repository.", change: link, want: reasons(verdict.PathEscape)},
		"Cycle":        {reason: "Kustomizations that include each other.", change: kustomization("components: []\n", "base/kustomization.yaml", "resources: [../../deploy]\n", "kustomization.yaml", "resources: [web.yaml, base]\n"), want: reasons(verdict.LimitExceeded)},
		"Doubling":     {reason: "Kustomizations that multiply.", change: doubling, want: reasons(verdict.LimitExceeded)},
		"Missing":      {reason: "A file that does not exist.", change: kustomization("components: [nowhere]\n"), want: reasons(verdict.InvalidManifest)},
		"UnknownField": {reason: "A field that kustomize does not know.", change: kustomization("resource: [web.yaml]\n"), want: reasons(verdict.InvalidManifest)},
		"TwoFiles":     {reason: "Two kustomizations in one directory.", change: kustomization("", "kustomization.yml", "resources: []\n"), want: reasons(verdict.AmbiguousManifest)},
		"NoTarget":     {reason: "A patch that hits nothing.", change: kustomization("patches:\n- patch: |\n    apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: nowhere}\n    data: {k: v}\n"), want: reasons(verdict.InvalidManifest)},
	}
}

// scopeTrials are about objects that are not for the commit to declare.
func (w *world) scopeTrials() map[string]trial {
	binding := "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: parity-evil}\n" +
		"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\nsubjects: [{kind: User, name: eve, apiGroup: rbac.authorization.k8s.io}]\n"
	engine := "apiVersion: tenant.example.com/v1\nkind: Engine\nmetadata: {name: e}\n"
	return map[string]trial{
		"Tenant":          {reason: "A tenant within its rights.", plan: tenant, change: harmless()},
		"OtherNamespace":  {reason: "A tenant in another namespace.", plan: tenant, change: files("more.yaml", edited(configMap("k: v"), "name: more", "name: more\n  namespace: kube-system")), want: reasons(verdict.ScopeViolation)},
		"ClusterKind":     {reason: "A tenant with an object of the cluster.", plan: tenant, change: files("more.yaml", binding), want: reasons(verdict.ScopeViolation)},
		"TenantNamespace": {reason: "A tenant with its own namespace.", plan: tenant, change: files("more.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: render-tenantnamespace}\n"), want: reasons(verdict.ScopeViolation)},
		"NoRight": {reason: "The account may not, which only the API server knows.", plan: tenant,
			change: files("more.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: more}\nspec: {ports: [{port: 80}]}\n"), server: reasons(verdict.DryRunRejected)},
		"UnknownKind": {reason: "A kind that nobody serves.", plan: tenant, change: files("more.yaml", engine), want: reasons(verdict.SchemaInvalid)},
		"Impersonation": {reason: "A ServiceAccount of another namespace bound in one's own.", plan: tenant,
			change: files("more.yaml", "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: more}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}\nsubjects: [{kind: ServiceAccount, name: default, namespace: kube-system}]\n"),
			server: reasons(verdict.DryRunRejected)},
		"OwnTrust":       {reason: "The trust that judges it.", change: files("more.yaml", trustManifest("render-owntrust")), want: reasons(verdict.ScopeViolation)},
		"OtherTrust":     {reason: "Any trust, while the trust says so.", change: files("more.yaml", trustManifest("parity-elsewhere")), want: reasons(verdict.ScopeViolation)},
		"TrustElsewhere": {reason: "Unless the trust allows it.", plan: func(_ *site, p *plan) { p.trust.Spec.TrustObjects = "Others" }, change: files("more.yaml", trustManifest("parity-elsewhere"))},
		"OwnPolicies":    {reason: "The rules that judge it.", change: files("more.yaml", "apiVersion: gitgate.dev/v1alpha1\nkind: PolicySet\nmetadata: {name: house}\nspec: {source: {library: [pod-security-baseline]}}\n"), want: reasons(verdict.ScopeViolation)},
		"OwnKeys": {reason: "The keys that decrypt it.", plan: func(_ *site, p *plan) { p.sync.Spec.TargetNamespace = "" },
			change: files("more.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: "+lab.KeySecret+", namespace: "+lab.SystemNamespace+"}\n"), want: reasons(verdict.ScopeViolation)},
		"Grant": {reason: "A break-glass grant.", change: files("more.yaml", "apiVersion: gitgate.dev/v1alpha1\nkind: BreakGlass\nmetadata: {name: more}\nspec: {}\n"), want: reasons(verdict.ScopeViolation)},
	}
}

func trustManifest(name string) string {
	return "apiVersion: gitgate.dev/v1alpha1\nkind: TrustPolicy\nmetadata: {name: " + name + "}\n" +
		"spec: {repositories: [{url: \"https://git.example.com/x.git\", refs: [main], root: " + strings.Repeat("ab", 20) + "}], namespaces: [x], commits: {signers: [{name: x, ssh: {allowedSigners: x}}]}}\n"
}

// tenant puts the GitSync into the namespace that it applies to, with an account
// that may write what is in force and no more.
func tenant(s *site, p *plan) {
	ctx := s.t.Context()
	must(s.t, "the namespace", s.EnsureNamespace(ctx, s.name))
	in := metav1.ObjectMeta{Namespace: s.name, Name: "deployer"}
	for _, o := range []client.Object{
		s.GitCredentials(s.name),
		&corev1.ServiceAccount{ObjectMeta: in},
		&rbacv1.Role{ObjectMeta: in, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"", "apps"}, Resources: []string{"configmaps", "deployments"}, Verbs: []string{"*"}},
		}},
		&rbacv1.RoleBinding{
			ObjectMeta: in, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "deployer"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.name, Name: "deployer"}},
		},
	} {
		must(s.t, "the tenant", s.Client.Create(ctx, o))
	}
	p.trust.Spec.Namespaces = []string{s.name}
	p.sync.Namespace, p.sync.Spec.ServiceAccountName, p.sync.Spec.Decryption, p.sync.Spec.TargetNamespace = s.name, "deployer", nil, ""
}
