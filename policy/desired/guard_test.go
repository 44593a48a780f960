package desired_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"gitgate.dev/gitgate/policy/desired"
)

const kubeSystem = "system:serviceaccount:kube-system:"

func TestWriter(t *testing.T) {
	for name, tc := range map[string]struct {
		user, row string
		want      bool
	}{
		"Controller":     {kubeSystem + "job-controller", "job-controller", true},
		"Shared":         {"system:kube-controller-manager", "job-controller", true},
		"User":           {"system:kube-scheduler", "system:kube-scheduler", true},
		"Other":          {kubeSystem + "job-controller", "cronjob-controller", false},
		"OtherNamespace": {"system:serviceaccount:evil:job-controller", "job-controller", false},
		"Bare":           {"job-controller", "job-controller", false},
		"Longer":         {kubeSystem + "job-controllers", "job-controller", false},
		"SharedIsNoUser": {"system:kube-controller-manager", "system:kube-scheduler", false},
		"Empty":          {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (desired.Writer{User: tc.user}).Is(tc.row); got != tc.want {
				t.Errorf("%q is %q: %t", tc.user, tc.row, got)
			}
		})
	}
}

const app = "system:serviceaccount:app:app"

func TestAway(t *testing.T) {
	const g = `{"metadata":{"name":"x","annotations":{"mine":"1"}},"spec":{"a":1,"map":{"k":"v"},"set":["p"],"list":[{"name":"a","v":1},{"name":"b","v":2}],"empty":{}}}`
	row := func(path ...string) desired.Leaf { return desired.Leaf{Path: path, Writers: []string{app}} }
	for name, tc := range map[string]struct {
		reason       string
		rows         []desired.Leaf
		ignore       [][]string
		user, sub    string
		d, old, live string
		declared     []fieldpath.Path
		want         []string
	}{
		"Nothing":         {reason: "Δ = ∅.", old: g, live: g},
		"NothingDrifted":  {reason: "What is wrong already is not judged.", old: `{"spec":{"z":1}}`, live: `{"spec":{"z":1}}`},
		"Toward":          {reason: "A leaf that comes to be as D has it.", old: strings.Replace(g, `"a":1`, `"a":2`, 1), live: g},
		"Away":            {reason: "A leaf that ceases to be.", old: g, live: strings.Replace(g, `"a":1`, `"a":2`, 1), want: []string{"spec.a"}},
		"Aside":           {reason: "From wrong to wrong.", old: strings.Replace(g, `"a":1`, `"a":2`, 1), live: strings.Replace(g, `"a":1`, `"a":3`, 1), want: []string{"spec.a"}},
		"Added":           {reason: "What D does not have.", old: g, live: strings.Replace(g, `"a":1`, `"a":1,"b":{"c":1}`, 1), want: []string{"spec.b"}},
		"Removed":         {reason: "An object as a whole.", old: g, live: strings.Replace(g, `"map":{"k":"v"},`, ``, 1), want: []string{"spec.map"}},
		"Emptied":         {reason: "Empty is not what it was.", old: g, live: strings.Replace(g, `"map":{"k":"v"}`, `"map":{}`, 1), want: []string{"spec.map.k"}},
		"EmptyGone":       {reason: "Empty is not absent: namespaceSelector: {}.", old: g, live: strings.Replace(g, `,"empty":{}`, ``, 1), want: []string{"spec.empty"}},
		"EmptyFilled":     {reason: "Nor full.", old: g, live: strings.Replace(g, `"empty":{}`, `"empty":{"x":1}`, 1), want: []string{"spec.empty.x"}},
		"EmptiedAside":    {reason: "From a wrong field to none at all, where D has one: an empty selector selects everything.", old: strings.Replace(g, `{"k":"v"}`, `{"z":"v"}`, 1), live: strings.Replace(g, `{"k":"v"}`, `{}`, 1), want: []string{"spec.map"}},
		"Item":            {reason: "An item by its key.", old: g, live: strings.Replace(g, `"v":2`, `"v":3`, 1), want: []string{"spec.list[name=b].v"}},
		"ItemAdded":       {reason: "One more.", old: g, live: strings.Replace(g, `{"name":"a"`, `{"name":"z"},{"name":"a"`, 1), want: []string{"spec.list[name=z]"}},
		"ItemRemoved":     {reason: "One less.", old: g, live: strings.Replace(g, `{"name":"a","v":1},`, ``, 1), want: []string{"spec.list[name=a]"}},
		"ItemBack":        {reason: "One comes back, in its place.", old: strings.Replace(g, `{"name":"a","v":1},`, ``, 1), live: g},
		"ItemHalfBack":    {reason: "Not half of it.", old: strings.Replace(g, `{"name":"a","v":1},`, ``, 1), live: strings.Replace(g, `{"name":"a","v":1}`, `{"name":"a"}`, 1), want: []string{"spec.list[name=a]"}},
		"ItemOutOfPlace":  {reason: "Order counts.", old: strings.Replace(g, `{"name":"a","v":1},`, ``, 1), live: strings.Replace(g, `{"name":"a","v":1},{"name":"b","v":2}`, `{"name":"b","v":2},{"name":"a","v":1}`, 1), want: []string{"spec.list"}},
		"Reordered":       {reason: "Order alone.", old: g, live: strings.Replace(g, `{"name":"a","v":1},{"name":"b","v":2}`, `{"name":"b","v":2},{"name":"a","v":1}`, 1), want: []string{"spec.list"}},
		"OrderBack":       {reason: "Back into order.", old: strings.Replace(g, `{"name":"a","v":1},{"name":"b","v":2}`, `{"name":"b","v":2},{"name":"a","v":1}`, 1), live: g},
		"Surplus":         {reason: "A wrong item goes while the rest is out of order.", old: strings.Replace(g, `{"name":"a","v":1},{"name":"b","v":2}`, `{"name":"b","v":2},{"name":"z"},{"name":"a","v":1}`, 1), live: strings.Replace(g, `{"name":"a","v":1},{"name":"b","v":2}`, `{"name":"b","v":2},{"name":"a","v":1}`, 1)},
		"Duplicate":       {reason: "Of two with one key the last may win.", old: g, live: strings.Replace(g, `{"name":"a","v":1}`, `{"name":"a","v":1},{"name":"a","v":9}`, 1), want: []string{"spec.list"}},
		"Set":             {reason: "Plain values are one leaf.", old: g, live: strings.Replace(g, `["p"]`, `["p","q"]`, 1), want: []string{"spec.set"}},
		"Type":            {reason: "A list is no object.", old: g, live: strings.Replace(g, `"map":{"k":"v"}`, `"map":["k"]`, 1), want: []string{"spec.map"}},
		"Ignored":         {reason: "Anybody's.", ignore: [][]string{{"spec", "map"}}, old: g, live: strings.Replace(g, `"map":{"k":"v"}`, `"map":{"k":"w"}`, 1)},
		"Row":             {reason: "Its writer's.", rows: []desired.Leaf{row("spec", "new")}, user: app, old: g, live: strings.Replace(g, `"a":1`, `"a":1,"new":{"x":[1]}`, 1)},
		"RowOther":        {reason: "Nobody else's.", rows: []desired.Leaf{row("spec", "new")}, old: g, live: strings.Replace(g, `"a":1`, `"a":1,"new":{"x":[1]}`, 1), want: []string{"spec.new.x"}},
		"RowRemoved":      {reason: "Not even back to D.", rows: []desired.Leaf{row("spec", "new")}, old: strings.Replace(g, `"a":1`, `"a":1,"new":{"x":[1]}`, 1), live: g, want: []string{"spec.new.x"}},
		"RowSubresource":  {reason: "Not through another subresource.", rows: []desired.Leaf{row("spec", "new")}, user: app, sub: "scale", old: g, live: strings.Replace(g, `"a":1`, `"a":1,"new":2`, 1), want: []string{"spec.new"}},
		"RowStatus":       {reason: "Metadata goes along with the status.", rows: []desired.Leaf{row("metadata", "labels", "l")}, user: app, sub: "status", old: g, live: strings.Replace(g, `"name":"x"`, `"name":"x","labels":{"l":"1"}`, 1)},
		"RowDeclared":     {reason: "What the manifest declares stays Git's.", rows: []desired.Leaf{row("spec", "a")}, user: app, old: g, live: strings.Replace(g, `"a":1`, `"a":2`, 1), want: []string{"spec.a"}},
		"RowAround":       {reason: "Below a row too.", rows: []desired.Leaf{row("spec")}, user: app, old: g, live: strings.NewReplacer(`"k":"v"`, `"k":"w","l":"x"`).Replace(g), want: []string{"spec.map.k"}},
		"RowBeside":       {reason: "And beside it all is the writer's.", rows: []desired.Leaf{row("spec")}, user: app, old: g, live: strings.Replace(g, `"k":"v"`, `"k":"v","l":"x"`, 1)},
		"RowEmpty":        {reason: "What is declared to be empty is the writer's to fill.", rows: []desired.Leaf{row("spec", "empty")}, user: app, old: g, live: strings.Replace(g, `"empty":{}`, `"empty":{"x":1}`, 1)},
		"RowEmptyBack":    {reason: "And an apply empties it again.", rows: []desired.Leaf{row("spec", "empty")}, old: strings.Replace(g, `"empty":{}`, `"empty":{"x":1}`, 1), live: g},
		"Prefix":          {reason: "A prefix opens what begins so.", rows: []desired.Leaf{row("metadata", "annotations", "app/*")}, user: app, old: g, live: strings.Replace(g, `"mine":"1"`, `"mine":"1","app/x":"2"`, 1)},
		"PrefixNoMore":    {reason: "And nothing else.", rows: []desired.Leaf{row("metadata", "annotations", "app/*")}, user: app, old: g, live: strings.Replace(g, `"mine":"1"`, `"mine":"2","app/x":"2"`, 1), want: []string{"metadata.annotations.mine"}},
		"Token":           {reason: "An item of a list is its writer's.", rows: []desired.Leaf{{Path: []string{"spec", "set"}, Tokens: []string{"t"}, Writers: []string{app}}}, user: app, old: g, live: strings.Replace(g, `["p"]`, `["p","t"]`, 1)},
		"TokenOther":      {reason: "Nobody else's.", rows: []desired.Leaf{{Path: []string{"spec", "set"}, Tokens: []string{"t"}, Writers: []string{app}}}, old: g, live: strings.Replace(g, `["p"]`, `["p","t"]`, 1), want: []string{"spec.set"}},
		"TokenAndMore":    {reason: "Beside it nothing.", rows: []desired.Leaf{{Path: []string{"spec", "set"}, Tokens: []string{"t"}, Writers: []string{app}}}, user: app, old: g, live: strings.Replace(g, `["p"]`, `["q","t"]`, 1), want: []string{"spec.set"}},
		"SetOfDelegation": {reason: "A declared item of a set stays.", rows: []desired.Leaf{row("spec", "set")}, declared: []fieldpath.Path{fieldpath.MakePathOrDie("spec", "set", valueOf("p"))}, user: app, old: g, live: strings.Replace(g, `["p"]`, `["q"]`, 1), want: []string{"spec.set"}},
		"SetMore":         {reason: "Others come and go.", rows: []desired.Leaf{row("spec", "set")}, declared: []fieldpath.Path{fieldpath.MakePathOrDie("spec", "set", valueOf("p"))}, user: app, old: g, live: strings.Replace(g, `["p"]`, `["q","p"]`, 1)},
		"KeyedItem":       {reason: "A declared item of a list is Git's, field by field.", rows: []desired.Leaf{row("spec", "list")}, declared: []fieldpath.Path{fieldpath.MakePathOrDie("spec", "list", fieldpath.KeyByFields("name", "a"), "v")}, user: app, old: g, live: strings.Replace(g, `"v":1`, `"v":7`, 1), want: []string{"spec.list[name=a].v"}},
		"KeyedOther":      {reason: "Others are the writer's.", rows: []desired.Leaf{row("spec", "list")}, declared: []fieldpath.Path{fieldpath.MakePathOrDie("spec", "list", fieldpath.KeyByFields("name", "a"), "v")}, user: app, old: g, live: strings.Replace(g, `{"name":"b"`, `{"name":"z"},{"name":"b"`, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			k := kind("example.com", "v1", "Widget")
			m := manifest(t, g)
			o := desired.GuardOptions{Delegated: tc.rows, Ignore: tc.ignore}
			if tc.declared != nil {
				o.Declared = fieldpath.NewSet(tc.declared...)
			}
			guard := k.NewGuard(m, o)
			old, live := parse(t, tc.old), parse(t, tc.live)
			before := mustJSON(t, live)
			got := render(guard.Away(m.Object, old, live, desired.Writer{User: tc.user, Subresource: tc.sub}))
			if diff := cmp.Diff(append([]string{}, tc.want...), got); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
			if mustJSON(t, live) != before {
				t.Error("the argument was changed")
			}
		})
	}
}

func valueOf(v any) any {
	raw, _ := json.Marshal(v)
	pe, err := fieldpath.DeserializePathElement("v:" + string(raw))
	if err != nil {
		panic(err)
	}
	return pe
}

// TestSlots checks what the server allocates.
func TestSlots(t *testing.T) {
	const g = `{"metadata":{"name":"s"},"spec":{"ports":[{"name":"a","port":80}]}}`
	const d = `{"metadata":{"name":"s"},"spec":{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1"],"ports":[{"name":"a","port":80,"nodePort":30000}]}}`
	const live = `{"metadata":{"name":"s"},"spec":{"clusterIP":"10.0.0.9","clusterIPs":["10.0.0.9"],"ports":[{"name":"a","port":80,"nodePort":31000}]}}`
	guard := service.NewGuard(manifest(t, g), desired.GuardOptions{})
	for name, tc := range map[string]struct {
		reason, old, live string
		want              int
	}{
		"Filled": {"The server fills them.", g, live, 0},
		"Kept":   {"They stay.", live, live, 0},
		"Moved":  {"Nobody moves them.", live, strings.ReplaceAll(live, "31000", "32000"), 1},
		"None":   {"A Service that became headless is another.", live, strings.ReplaceAll(live, "10.0.0.9", "None"), 2},
	} {
		t.Run(name, func(t *testing.T) {
			if got := guard.Away(parse(t, d), parse(t, tc.old), parse(t, tc.live), desired.Writer{User: "alice"}); len(got) != tc.want {
				t.Errorf("%s\n%v", tc.reason, render(got))
			}
		})
	}
}

// FuzzAway: whatever the three objects are, what leads to D passes, what changes
// nothing passes, and what passes differs from D in no more places than before.
func FuzzAway(f *testing.F) {
	f.Add(deploymentG, deploymentG, strings.Replace(deploymentG, "a:1", "a:2", 1))
	f.Add(`{"spec":{"a":[{"name":"x"},{"name":"y"}]}}`, `{"spec":{"a":[{"name":"y"},{"name":"x"}]}}`, `{"spec":{"a":[{"name":"x"}]}}`)
	f.Add(`{"spec":{"a":{}}}`, `{"spec":{}}`, `{"spec":{"a":[]}}`)
	f.Fuzz(func(t *testing.T, a, b, c string) {
		var d, old, live map[string]any
		for _, p := range []struct {
			text string
			to   *map[string]any
		}{{a, &d}, {b, &old}, {c, &live}} {
			if utiljson.Unmarshal([]byte(p.text), p.to) != nil || *p.to == nil {
				t.Skip()
			}
		}
		d, old, live = widget.Normalise(d), widget.Normalise(old), widget.Normalise(live)
		guard := widget.NewGuard(&unstructured.Unstructured{Object: d}, desired.GuardOptions{})
		alice := desired.Writer{User: "alice"}
		if got := guard.Away(d, old, old, alice); len(got) > 0 {
			t.Fatalf("nothing changed, and yet %v", render(got))
		}
		var all *desired.Mask
		if touchesRows(d, old) {
			t.Skip()
		}
		if got := guard.Away(d, old, d, alice); len(got) > 0 {
			t.Fatalf("towards D, and yet %v", render(got))
		}
		if len(guard.Away(d, d, live, alice)) == 0 && len(all.Diff(d, live)) > 0 {
			t.Fatalf("away from D unseen: %v", render(all.Diff(d, live)))
		}
	})
}

// touchesRows reports whether finalizers or owners differ, which are not alice's.
func touchesRows(a, b map[string]any) bool {
	x, _ := a["metadata"].(map[string]any)
	y, _ := b["metadata"].(map[string]any)
	return mustEqual(x["finalizers"], y["finalizers"]) || mustEqual(x["ownerReferences"], y["ownerReferences"])
}

func mustEqual(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) != string(y)
}
