package policy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/verdict"
)

// What is not known makes the rule that comes to read it undetermined, and no other.
func TestUnknownContext(t *testing.T) {
	lack := func(severity, rule, parts string) string {
		return severity + " PolicyUndefined [acme/acme." + rule + "]: the rule reads " + parts +
			", which is not known here: where the rule can do without, let it ask input.known first"
	}
	attests := func(list []policy.Attestation) func(*policy.Input) {
		return func(in *policy.Input) { in.Images = []policy.Image{{Ref: "web:1", Attestations: list}} }
	}
	gone := policy.Attestation{Name: "scan", Predicate: func() ([]byte, error) { return nil, errors.New("gone") }}
	none := func(p policy.Part) func(*policy.Input) { return func(in *policy.Input) { in.None = p } }
	for name, tc := range map[string]struct {
		reason string
		rego   string
		set    func(*policy.Set, *policy.Options)
		input  func(*policy.Input)
		want   string
	}{
		"User":       {reason: "Nobody asks in CI.", rego: `deny contains "x" if input.userInfo.username == "eve"`, want: lack("undetermined", "deny", "input.userInfo")},
		"NotUser":    {reason: "What is missing must not deny either.", rego: `deny contains "x" if not input.userInfo.username == "eve"`, want: lack("undetermined", "deny", "input.userInfo")},
		"Commit":     {reason: "No commit brings it.", rego: `deny contains input.commit.sha`, want: lack("undetermined", "deny", "input.commit")},
		"Images":     {reason: "Nobody verified the images.", rego: `deny contains "x" if count(input.images) == 0`, want: lack("undetermined", "deny", "input.images")},
		"NoImages":   {reason: "That there are none is a fact.", rego: `deny contains "x" if count(input.images) == 0`, input: func(in *policy.Input) { in.Images = []policy.Image{} }, want: "deny PolicyDenied [acme/acme.deny]: x"},
		"Time":       {reason: "Nobody looks at a clock.", rego: `deny contains "x" if input.time < "2026"`, want: lack("undetermined", "deny", "input.time")},
		"AtTime":     {reason: "Somebody did.", rego: `deny contains input.time`, input: func(in *policy.Input) { in.Time = time.Unix(0, 0) }, want: "deny PolicyDenied [acme/acme.deny]: 1970-01-01T00:00:00Z"},
		"Attested":   {reason: "Nobody looked for attestations.", rego: `deny contains "x" if count(input.images[0].attestations) == 0`, input: attests(nil), want: lack("undetermined", "deny", "input.images[].attestations")},
		"NotImages":  {reason: "Without images there are none either.", rego: `deny contains "x" if count(input.images[0].attestations) == 0`, want: lack("undetermined", "deny", "input.images")},
		"NoAttested": {reason: "That there are none is a fact.", rego: `deny contains "x" if count(input.images[0].attestations) == 0`, input: attests([]policy.Attestation{}), want: "deny PolicyDenied [acme/acme.deny]: x"},
		"SomeAttest": {reason: "Of one image it is known, of the other it is not.", rego: "deny contains \"x\" if not named\nnamed if input.images[_].attestations[_].name",
			input: func(in *policy.Input) { in.Images = []policy.Image{{Attestations: []policy.Attestation{}}, {}} }, want: lack("undetermined", "deny", "input.images[].attestations")},
		"OtherField":  {reason: "Who asks for something else of an image is answered.", rego: `deny contains i.ref if some i in input.images`, input: attests(nil), want: "deny PolicyDenied [acme/acme.deny]: web:1"},
		"WholeImage":  {reason: "Who hands the image on may read all of it.", rego: `deny contains json.marshal(i) if some i in input.images`, input: attests(nil), want: lack("undetermined", "deny", "input.images[].attestations")},
		"AskAttested": {reason: "A rule may ask.", rego: `deny contains "?" if { not input.known.attestations; not input.images[0].attestations[0].predicate.a }`, input: attests(nil), want: "deny PolicyDenied [acme/acme.deny]: ?"},
		"Gone":        {reason: "What an attestation states is not at hand.", rego: "deny contains \"x\" if not stated\nstated if input.images[_].attestations[_].predicate.a", input: attests([]policy.Attestation{gone}), want: lack("undetermined", "deny", "input.images[].attestations[].predicate")},
		"NoPredicate": {reason: "Nor is it known at all.", rego: "deny contains \"x\" if not stated\nstated if input.images[_].attestations[_].predicate.a", input: attests([]policy.Attestation{{Name: "scan"}}), want: lack("undetermined", "deny", "input.images[].attestations[].predicate")},
		"GoneUnread": {reason: "Who reads only that there is one is answered.", rego: "deny contains input.images[_].attestations[_].name\ndeny_b contains \"x\" if input.images[_].attestations[_].predicate.a", input: attests([]policy.Attestation{gone}),
			want: "deny PolicyDenied [acme/acme.deny]: scan\n" + lack("undetermined", "deny_b", "input.images[].attestations[].predicate")},
		"Namespace":  {reason: "The namespace is not known.", rego: `deny contains "x" if input.namespace.metadata.labels.a`, want: lack("undetermined", "deny", "input.namespace")},
		"None":       {reason: "It is known that there is none.", rego: `deny contains "x" if not input.namespace`, input: none(policy.PartNamespace), want: "deny PolicyDenied [acme/acme.deny]: x"},
		"NoneOther":  {reason: "That is said of each part.", rego: `deny contains "x" if not input.namespace`, input: none(policy.PartCommit), want: lack("undetermined", "deny", "input.namespace")},
		"Source":     {reason: "Nobody knows the file.", rego: `deny contains "x" if input.source.file == "a"`, want: lack("undetermined", "deny", "input.source")},
		"Inventory":  {reason: "Nor other objects.", rego: `deny contains "x" if data.inventory.cluster`, want: lack("undetermined", "deny", "data.inventory")},
		"Import":     {reason: "An import is another name for it.", rego: "import data.inventory\ndeny contains \"x\" if inventory.cluster", want: lack("undetermined", "deny", "data.inventory")},
		"OwnData":    {reason: "A set may have data of that name.", rego: `deny contains data.inventory`, set: func(s *policy.Set, _ *policy.Options) { s.Data = map[string]any{"inventory": "own"} }, want: "deny PolicyDenied [acme/acme.deny]: own"},
		"Create":     {reason: "A new object replaces none: that is a fact.", rego: `deny contains "new" if not input.oldObject`, want: "deny PolicyDenied [acme/acme.deny]: new"},
		"Update":     {reason: "What an update replaces is not known.", rego: `deny contains "new" if not input.oldObject`, input: func(in *policy.Input) { in.Operation = policy.Update }, want: lack("undetermined", "deny", "input.oldObject")},
		"NotReached": {reason: "A rule that is done with the object before is decided.", rego: `deny contains "x" if { input.object.metadata.name == "b"; input.userInfo.username }`},
		"Reached":    {reason: "One that is not, is not.", rego: `deny contains "x" if { input.object.metadata.name == "a"; input.userInfo.username }`, want: lack("undetermined", "deny", "input.userInfo")},
		"OtherKind":  {reason: "A rule for another kind is not asked.", rego: `deny contains "x" if { input.userInfo.username; input.object.kind == "Pod" }`},
		"Asked":      {reason: "A rule may ask what is known.", rego: `deny contains "x" if { input.known.userInfo; input.userInfo.username != "bob" }`},
		"AskedNot":   {reason: "And say what follows when it is not.", rego: `deny contains "who?" if not input.known.userInfo`, want: "deny PolicyDenied [acme/acme.deny]: who?"},
		"AskedReads": {reason: "Whoever asked may read what is not known: he knows what he does.", rego: `deny contains "nobody" if { not input.known.userInfo; not input.userInfo.username }`, want: "deny PolicyDenied [acme/acme.deny]: nobody"},
		"AskedOther": {reason: "Asking about one part excuses no other.", rego: `deny contains "x" if { not input.known.commit; input.userInfo.username }`, want: lack("undetermined", "deny", "input.userInfo")},
		"Siblings": {
			reason: "Rules of one name that do not need it are heard, and so are those before it.",
			rego: "deny contains \"object\" if input.object.kind == \"ConfigMap\"\n" +
				"deny contains \"user\" if input.userInfo.username\n" +
				"deny contains \"no\" if { input.object.kind == \"Pod\"; input.commit.sha }",
			want: "deny PolicyDenied [acme/acme.deny]: object\n" + lack("undetermined", "deny", "input.userInfo"),
		},
		"Helper":        {reason: "It is read through a rule.", rego: "deny contains \"x\" if not admin\nadmin if input.userInfo.username == \"root\"", want: lack("undetermined", "deny", "input.userInfo")},
		"SharedHelper":  {reason: "Also where another rule has asked it before.", rego: "deny contains \"a\" if admin\ndeny contains \"b\" if not admin\nadmin if input.userInfo.username == \"root\"", want: lack("undetermined", "deny", "input.userInfo")},
		"Function":      {reason: "Through a function.", rego: "deny contains \"x\" if not admin(input)\nadmin(i) if i.userInfo.username == \"root\"", want: lack("undetermined", "deny", "input.userInfo")},
		"Whole":         {reason: "A function that reads the object only does not read the user.", rego: "deny contains \"x\" if pod(input)\npod(i) if i.object.kind == \"Pod\""},
		"Alias":         {reason: "Under another name.", rego: `deny contains "x" if { i := input; not i.userInfo.username }`, want: lack("undetermined", "deny", "input.userInfo")},
		"Comprehension": {reason: "In a comprehension.", rego: `deny contains "x" if count([g | some g in input.userInfo.groups]) == 0`, want: lack("undetermined", "deny", "input.userInfo")},
		"Every":         {reason: "In every.", rego: `deny contains "x" if { every g in input.userInfo.groups { g != "a" } }`, want: lack("undetermined", "deny", "input.userInfo")},
		"EveryBody":     {reason: "In its body.", rego: `deny contains "x" if { every k in ["a"] { not k == input.userInfo.username } }`, want: lack("undetermined", "deny", "input.userInfo")},
		"Get":           {reason: "By object.get, whose default is no answer.", rego: `deny contains "x" if object.get(input, ["userInfo", "username"], "nobody") == "nobody"`, want: lack("undetermined", "deny", "input.userInfo")},
		"GetOther":      {reason: "Which reads nothing else.", rego: `deny contains "x" if object.get(input, "parameters", 1) == {}`, want: "deny PolicyDenied [acme/acme.deny]: x"},
		"AnyKey":        {reason: "By a key that is any.", rego: `deny contains "x" if { some k in input.object.data; input[k].username }`, want: lack("undetermined", "deny", "input.namespace and input.userInfo and input.commit and input.images and input.source and input.time")},
		"Head":          {reason: "In the head.", rego: `deny contains sprintf("%s", [input.userInfo.username])`, want: lack("undetermined", "deny", "input.userInfo")},
		"Indexed":       {reason: "The index of rules must not skip it.", rego: "deny contains \"x\" if kind == \"a\"\nkind := \"a\" if input.userInfo.uid == \"1\"\nkind := \"b\" if input.userInfo.uid == \"2\"", want: lack("undetermined", "deny", "input.userInfo")},
		"Complete":      {reason: "A rule that is no set is asked as one.", rego: "deny := {\"x\"} if input.userInfo.uid == \"1\"\nelse := {\"y\"}", want: lack("undetermined", "deny", "input.userInfo")},
		"With":          {reason: "A rule that brings its own input may be taken to read it.", rego: "deny contains \"x\" if not p with input.userInfo as {}\np if input.userInfo.uid", want: lack("undetermined", "deny", "input.userInfo")},
		"Warn":          {reason: "A rule that warns does not block.", rego: `warn contains "x" if input.userInfo.username`, want: lack("warn", "warn", "input.userInfo")},
		"SetWarns":      {reason: "Nor a set that warns.", rego: `deny contains "x" if input.userInfo.username`, set: func(s *policy.Set, _ *policy.Options) { s.Enforcement = policy.Warn }, want: lack("warn", "deny", "input.userInfo")},
		"SetAudits":     {reason: "Nor one that audits.", rego: `deny contains "x" if input.userInfo.username`, set: func(s *policy.Set, _ *policy.Options) { s.Enforcement = policy.Audit }, want: lack("info", "deny", "input.userInfo")},
		"Many":          {reason: "In a set of many rules too.", rego: many(`deny contains "x" if input.userInfo.username`), want: lack("undetermined", "deny", "input.userInfo")},
	} {
		for mode, whole := range map[string]bool{"": false, "/ReadWholeInput": true} {
			t.Run(name+mode, func(t *testing.T) {
				e := load(t, "package acme\n\n"+tc.rego, func(s *policy.Set, o *policy.Options) {
					if o.ReadWholeInput = whole; tc.set != nil {
						tc.set(s, o)
					}
				})
				in := policy.Input{Object: []byte(configMap)}
				if tc.input != nil {
					tc.input(&in)
				}
				for range 2 { // what is not known is not remembered
					if diff := cmp.Diff(tc.want, short(e.Evaluate(t.Context(), in))); diff != "" {
						t.Errorf("%s\n%s", tc.reason, diff)
					}
				}
			})
		}
	}
}

// many adds more rules than answers are remembered of.
func many(rego string) string {
	var b strings.Builder
	b.WriteString(rego)
	for i := range 300 {
		b.WriteString("\ndeny_" + strings.Repeat("i", i+1) + ` contains "x" if input.object.kind == "Pod"`)
	}
	return b.String()
}

// An answer that was found where nothing was missing says nothing where something is.
func TestUnknownContextIsNotRemembered(t *testing.T) {
	e := load(t, "package acme\n\ndeny contains \"frozen\" if input.oldObject.data.n != input.object.data.n")
	known := policy.Input{Operation: policy.Update, Object: []byte(configMap), OldObject: []byte(configMap)}
	if fs := e.Evaluate(t.Context(), known); len(fs) != 0 {
		t.Fatalf("findings = %v", fs)
	}
	fs := e.Evaluate(t.Context(), policy.Input{Operation: policy.Update, Object: []byte(configMap)})
	if len(fs) != 1 || fs[0].Severity != verdict.Undetermined {
		t.Errorf("findings = %v, want one that is undetermined", fs)
	}
	if fs := e.Evaluate(t.Context(), known); len(fs) != 0 {
		t.Errorf("findings = %v after a lack", fs)
	}
}

func TestInventory(t *testing.T) {
	role := `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"r"}}`
	secret := `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"shop"},"data":{"k":"hunter2"}}`
	inventory, err := policy.NewInventory([][]byte{[]byte(configMap), []byte(role), []byte(secret)})
	if err != nil {
		t.Fatal(err)
	}
	e := load(t, `package acme

import data.inventory

deny contains "other" if data.inventory.namespace.shop.v1.ConfigMap[_]
deny contains k if some k in inventory.namespace.shop.v1.Secret[_].data
deny contains name if inventory.cluster["rbac.authorization.k8s.io/v1"].ClusterRole[name]`)
	got := short(e.Evaluate(t.Context(), policy.Input{Object: []byte(configMap), Inventory: inventory}))
	if want := "deny PolicyDenied [acme/acme.deny]: (redacted)\ndeny PolicyDenied [acme/acme.deny]: other\ndeny PolicyDenied [acme/acme.deny]: r"; got != want {
		t.Errorf("findings:\n%s\nwant:\n%s", got, want)
	}
	for name, objects := range map[string][]string{"Twice": {configMap, configMap}, "Broken": {"{"}, "NoObject": {"[]"}} {
		var raw [][]byte
		for _, o := range objects {
			raw = append(raw, []byte(o))
		}
		if _, err := policy.NewInventory(raw); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
