package breakglass_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/breakglass"
)

// TestPayloadText holds the very bytes: whoever changes them makes every
// signature worthless, and must change the version.
func TestPayloadText(t *testing.T) {
	got, err := breakglass.Payload(&grant().Spec.Grant)
	if err != nil {
		t.Fatal(err)
	}
	const want = `gitgate break-glass grant v1
cluster: 6f0d0f3e-9f8c-4b1c-8d5e-1c2f3a4b5c6d
trust: production
user: oscar
group: oncall
verb: connect
verb: update
resource: deployments.apps
resource: pods/exec
namespace: prod
namespace: shop
name: web
name: web-*
reason: checkout is down, INC-17
not-before: 2026-11-22T12:00:00Z
expiry: 2026-11-22T13:00:00Z
nonce: 0123456789abcdef0123456789abcdef
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
	if name := breakglass.Name(got); name != "breakglass-ced338d5694c38177df5f610" {
		t.Errorf("Name() = %s", name)
	}
}

func TestPayloadIgnoresOrder(t *testing.T) {
	g := grant(func(g *v1alpha1.BreakGlassGrant) { g.Users, g.Groups = []string{"b", "a"}, []string{"d", "c"} })
	first, err := breakglass.Payload(&g.Spec.Grant)
	if err != nil {
		t.Fatal(err)
	}
	same := g.DeepCopy().Spec.Grant
	for _, list := range [][]string{same.Users, same.Groups, same.Verbs, same.Namespaces, same.Names} {
		slices.Reverse(list)
	}
	slices.Reverse(same.Resources)
	same.Expiry = metav1.NewTime(same.Expiry.In(time.FixedZone("elsewhere", -3600)))
	second, err := breakglass.Payload(&same)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(first), string(second)); diff != "" {
		t.Errorf("the same grant in another order has other bytes:\n%s", diff)
	}
}

// readPayload is the inverse of Payload. That it exists proves that no two grants
// share their bytes.
func readPayload(payload string) (*v1alpha1.BreakGlassGrant, error) {
	lines := strings.Split(payload, "\n")
	if lines[0] != "gitgate break-glass grant v1" || lines[len(lines)-1] != "" {
		return nil, fmt.Errorf("not a payload: %q", payload)
	}
	g := &v1alpha1.BreakGlassGrant{}
	for _, line := range lines[1 : len(lines)-1] {
		key, value, ok := strings.Cut(line, ": ")
		if !ok {
			return nil, fmt.Errorf("line %q", line)
		}
		at, _ := time.Parse(time.RFC3339, value)
		switch key {
		case "cluster":
			g.Cluster = value
		case "trust":
			g.Trust = value
		case "user":
			g.Users = append(g.Users, value)
		case "group":
			g.Groups = append(g.Groups, value)
		case "verb":
			g.Verbs = append(g.Verbs, value)
		case "resource":
			g.Resources = append(g.Resources, breakglass.ParseResource(value))
		case "namespace":
			g.Namespaces = append(g.Namespaces, value)
		case "name":
			g.Names = append(g.Names, value)
		case "reason":
			g.Reason = value
		case "not-before":
			g.NotBefore = metav1.NewTime(at)
		case "expiry":
			g.Expiry = metav1.NewTime(at)
		case "nonce":
			g.Nonce = value
		default:
			return nil, fmt.Errorf("key %q", key)
		}
	}
	return g, nil
}

// equalGrants compares grants but for the order of their lists.
func equalGrants(a, b *v1alpha1.BreakGlassGrant) string {
	return cmp.Diff(a, b, cmpopts.SortSlices(func(a, b string) bool { return a < b }), cmpopts.EquateEmpty(),
		cmpopts.SortSlices(func(a, b v1alpha1.BreakGlassResource) bool { return fmt.Sprint(a) < fmt.Sprint(b) }))
}

func TestPayloadIsUnambiguous(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	list := func(pool ...string) []string {
		random.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
		return pool[:1+random.IntN(len(pool))]
	}
	for range 500 {
		g := grant(func(g *v1alpha1.BreakGlassGrant) {
			// Values that look like other lines.
			g.Users = list("oscar", "group: oncall", "nina, oscar", "https://idp.example.com#7", "system:serviceaccount:ci:bot")
			g.Groups = list("oncall", "user: oscar", "verb: delete")
			g.Verbs, g.Names = list(slices.Clone(breakglass.Verbs)...), list("web", "web*", "*", "system:node", "a.b")
			g.Namespaces = list("shop", "prod", "a-b")
			g.Reason = list(`reason: "x"`, "日本", "a: b: c", "#")[0]
			g.Expiry = metav1.NewTime(noon.Add(time.Duration(1+random.IntN(14400)) * time.Second).In(time.FixedZone("", 7200)))
			g.Resources = nil
			for _, r := range list("pods", "pods/exec", "deployments.apps", "deployments.apps/scale", "apps") {
				g.Resources = append(g.Resources, breakglass.ParseResource(r))
			}
		})
		payload, err := breakglass.Payload(&g.Spec.Grant)
		if err != nil {
			t.Fatal(err)
		}
		back, err := readPayload(string(payload))
		if err != nil {
			t.Fatal(err)
		}
		if diff := equalGrants(&g.Spec.Grant, back); diff != "" {
			t.Fatalf("the payload says another grant (-grant +payload):\n%s\n%s", diff, payload)
		}
	}
}

func TestValidate(t *testing.T) {
	many := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprint("x", i))
		}
		return out
	}
	type g = *v1alpha1.BreakGlassGrant
	for name, tc := range map[string]struct {
		reason string
		change func(g)
		want   string // empty: valid
	}{
		"Fine":              {"The grant of these tests.", func(g) {}, ""},
		"FourHours":         {"The longest.", func(g g) { g.Expiry = metav1.NewTime(noon.Add(4 * time.Hour)) }, ""},
		"ServiceAccount":    {"A robot of one's own.", func(g g) { g.Users = []string{"system:serviceaccount:ci:bot"} }, ""},
		"SystemAdmin":       {"The only administrator of some distributions.", func(g g) { g.Users = []string{"system:admin"} }, ""},
		"ClusterScoped":     {"No namespace.", func(g g) { g.Namespaces = nil }, ""},
		"GroupsOnly":        {"Groups suffice.", func(g g) { g.Users = nil }, ""},
		"Longer":            {"A second more than four hours.", func(g g) { g.Expiry = metav1.NewTime(noon.Add(4*time.Hour + time.Second)) }, "spec.grant.expiry: Invalid value: \"2026-11-22T16:00:01Z\": must be at most 4h after notBefore"},
		"NoTime":            {"It would end as it begins.", func(g g) { g.Expiry = g.NotBefore }, "must be after notBefore"},
		"Backwards":         {"It ends before.", func(g g) { g.Expiry = metav1.NewTime(noon.Add(-time.Hour)) }, "must be after notBefore"},
		"ZeroTimes":         {"None given.", func(g g) { g.NotBefore, g.Expiry = metav1.Time{}, metav1.Time{} }, "must be a time of whole seconds"},
		"Fraction":          {"It would be signed as another time.", func(g g) { g.NotBefore = metav1.NewTime(noon.Add(time.Millisecond)) }, "spec.grant.notBefore"},
		"NoCluster":         {"It would count everywhere.", func(g g) { g.Cluster = "" }, "spec.grant.cluster"},
		"NoTrust":           {"Nobody would vouch.", func(g g) { g.Trust = "" }, "spec.grant.trust"},
		"Nobody":            {"No principal.", func(g g) { g.Users, g.Groups = nil, nil }, "spec.grant.users: Required"},
		"EmptyUser":         {"An anonymous one.", func(g g) { g.Users = []string{""} }, "spec.grant.users[0]"},
		"NewlineUser":       {"It would add a line to what is signed.", func(g g) { g.Users = []string{"oscar\nuser: eve"} }, "spec.grant.users[0]"},
		"LookalikeUser":     {"A Cyrillic letter.", func(g g) { g.Users = []string{"оscar"} }, "no other name looks alike"},
		"SpaceUser":         {"Nobody sees the space.", func(g g) { g.Users = []string{"oscar "} }, "no space at either end"},
		"ManyUsers":         {"A grant for everybody.", func(g g) { g.Users = many(17) }, "spec.grant.users: Too many"},
		"SameUser":          {"Twice the same.", func(g g) { g.Users = []string{"a", "a"} }, "spec.grant.users[1]: Duplicate"},
		"K17/Controller":    {"The control plane.", func(g g) { g.Users = []string{"system:kube-controller-manager"} }, "is an identity of the control plane"},
		"K17/KubeSystem":    {"A controller of it.", func(g g) { g.Users = []string{"system:serviceaccount:kube-system:replicaset-controller"} }, "is an identity of the control plane"},
		"K17/Node":          {"A node.", func(g g) { g.Users = []string{"system:node:n1"} }, "is an identity of the control plane"},
		"K17/Anonymous":     {"Anybody.", func(g g) { g.Users = []string{"system:anonymous"} }, "is an identity of the control plane"},
		"K17/Authenticated": {"Everybody.", func(g g) { g.Groups = []string{"system:authenticated"} }, "which no grant can bound"},
		"K17/Masters":       {"Whoever has ever been an administrator.", func(g g) { g.Groups = []string{"system:masters"} }, "which no grant can bound"},
		"Patch":             {"Patch is update.", func(g g) { g.Verbs = []string{"patch"} }, "must be create, update (patch and apply too)"},
		"AnyVerb":           {"No wildcard.", func(g g) { g.Verbs = []string{"*"} }, "spec.grant.verbs[0]"},
		"NoVerb":            {"Nothing to do.", func(g g) { g.Verbs = nil }, "spec.grant.verbs: Required"},
		"NoResource":        {"Nothing to do it to.", func(g g) { g.Resources = nil }, "spec.grant.resources: Required"},
		"AnyResource":       {"No wildcard.", func(g g) { g.Resources[0] = v1alpha1.BreakGlassResource{Group: "*", Resource: "*"} }, "spec.grant.resources[0]"},
		"AnySubresource":    {"No wildcard.", func(g g) { g.Resources[0].Resource = "pods/*" }, "spec.grant.resources[0]"},
		"KindForResource":   {"The kind is not the resource.", func(g g) { g.Resources[0].Resource = "Deployment" }, "in the plural"},
		"SameResource":      {"Twice the same.", func(g g) { g.Resources[1] = g.Resources[0] }, "spec.grant.resources[1]: Duplicate"},
		"AnyNamespace":      {"No wildcard.", func(g g) { g.Namespaces = []string{"*"} }, "must be the exact name of a namespace"},
		"NamespacePattern":  {"Nor a pattern.", func(g g) { g.Namespaces = []string{"shop-*"} }, "must be the exact name of a namespace"},
		"ManyNamespaces":    {"Better none than all.", func(g g) { g.Namespaces = many(33) }, "spec.grant.namespaces: Too many"},
		"NoNames":           {"Every name must be said, be it *.", func(g g) { g.Names = nil }, "spec.grant.names: Required"},
		"InnerStar":         {"A pattern ends in its star.", func(g g) { g.Names = []string{"w*b"} }, "a * at its end"},
		"TwoStars":          {"One star.", func(g g) { g.Names = []string{"w**"} }, "a * at its end"},
		"SlashName":         {"Not a name.", func(g g) { g.Names = []string{"a/b"} }, "must be a name"},
		"NoReason":          {"Why?", func(g g) { g.Reason = "" }, "spec.grant.reason"},
		"BidiReason":        {"It would read as something else.", func(g g) { g.Reason = "safe \u202elaever" }, "invisible characters"},
		"NewlineReason":     {"It would add a line.", func(g g) { g.Reason = "x\nname: *" }, "invisible characters"},
		"LongReason":        {"A novel.", func(g g) { g.Reason = strings.Repeat("x", 513) }, "512 bytes"},
		"Nonce":             {"Too short to be unique.", func(g g) { g.Nonce = "00" }, "32 hexadecimal digits"},
	} {
		t.Run(name, func(t *testing.T) {
			g := grant(tc.change)
			err := breakglass.Validate(&g.Spec.Grant).ToAggregate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s\nValidate() = %v, want %q", tc.reason, err, tc.want)
			}
			if payload, perr := breakglass.Payload(&g.Spec.Grant); (perr == nil) != (err == nil) || perr != nil && payload != nil {
				t.Errorf("Payload() = %q, %v for a grant with error %v", payload, perr, err)
			}
		})
	}
}

// FuzzGrant: whatever JSON says, it is refused, or its payload says exactly it and
// nothing that a terminal would not show.
func FuzzGrant(f *testing.F) {
	for _, change := range []func(*v1alpha1.BreakGlassGrant){
		func(*v1alpha1.BreakGlassGrant) {},
		func(g *v1alpha1.BreakGlassGrant) { g.Users, g.Namespaces = []string{"user: x"}, nil },
		func(g *v1alpha1.BreakGlassGrant) { g.Reason = "x\nuser: eve" },
		func(g *v1alpha1.BreakGlassGrant) { g.Resources[0].Group = "apps/v1" },
	} {
		seed, err := json.Marshal(grant(change).Spec.Grant)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var g v1alpha1.BreakGlassGrant
		if json.Unmarshal(raw, &g) != nil {
			return
		}
		payload, err := breakglass.Payload(&g)
		if err != nil {
			if len(payload) != 0 {
				t.Errorf("a payload beside the error %v", err)
			}
			return
		}
		back, err := readPayload(string(payload))
		if err != nil {
			t.Fatal(err)
		}
		if diff := equalGrants(&g, back); diff != "" {
			t.Errorf("the payload says another grant:\n%s", diff)
		}
		if len(payload) > 64<<10 || g.Expiry.Sub(g.NotBefore.Time) > breakglass.MaxValidity {
			t.Errorf("%d bytes, valid for %s", len(payload), g.Expiry.Sub(g.NotBefore.Time))
		}
		for _, c := range string(payload) {
			if c != '\n' && (c < ' ' || c >= 0x7f && c < 0xa0 || c == 0x202e || c == 0x2028) {
				t.Errorf("the payload holds %U", c)
			}
		}
	})
}
