package policy

import (
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// allowedBuiltins is everything that a policy may call: functions of their
// arguments alone, whose cost can be bounded (see bounds.go). It lists what is
// allowed, so that a built-in that a later OPA adds stays out until judged.
var allowedBuiltins = strings.Fields(`
	eq assign equal neq gt gte lt lte internal.member_2 internal.member_3
	plus minus mul div rem abs ceil floor round
	bits.or bits.and bits.negate bits.xor bits.lsh bits.rsh
	and or set_diff intersection union
	count sum product max min any all sort
	array.concat array.flatten array.slice array.reverse
	to_number cast_object cast_null cast_boolean cast_string cast_set cast_array
	is_number is_string is_boolean is_array is_set is_object is_null type_name
	regex.is_valid regex.match re_match regex.split regex.find_n
	regex.find_all_string_submatch_n regex.replace regex.template_match
	strings.any_prefix_match strings.any_suffix_match concat format_int indexof indexof_n
	substring lower upper contains strings.count startswith endswith split strings.split_n
	replace strings.replace_n trim trim_left trim_prefix trim_right trim_suffix trim_space
	sprintf strings.reverse internal.template_string
	numbers.range numbers.range_step
	json.marshal json.marshal_with_options json.unmarshal json.is_valid
	json.filter json.remove json.patch
	yaml.marshal yaml.unmarshal yaml.is_valid
	base64.encode base64.decode base64.is_valid
	base64url.encode base64url.encode_no_pad base64url.decode
	urlquery.encode urlquery.decode urlquery.encode_object urlquery.decode_object
	uri.parse uri.is_valid hex.encode hex.decode
	object.union object.union_n object.remove object.filter object.get object.keys object.subset
	walk graph.reachable
	crypto.md5 crypto.sha1 crypto.sha256
	time.parse_ns time.parse_rfc3339_ns time.parse_duration_ns time.format time.date
	time.clock time.weekday time.add_date time.diff
	net.cidr_contains net.cidr_contains_matches net.cidr_intersects net.cidr_is_valid net.cidr_merge
	glob.match glob.quote_meta units.parse units.parse_bytes
	semver.is_valid semver.compare
	rego.metadata.chain rego.metadata.rule
	print internal.print`)

// newCapabilities is what the compiler lets a policy use. print compiles and is
// then erased: it says nothing in a server, and no secret leaves through it.
func newCapabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool {
		return !slices.Contains(allowedBuiltins, b.Name)
	})
	c.AllowNet = []string{}
	return c
}

// capabilities is shared by all that does not change it.
var capabilities = sync.OnceValue(newCapabilities)

// whyForbidden says why a built-in is missing and what to do instead.
func whyForbidden(name string) string {
	switch {
	case name == "http.send", name == "net.lookup_ip_addr":
		return "policies have no network; pass what they need as data or parameters"
	case name == "time.now_ns":
		return "a verdict must not depend on a clock that nobody can set back; input.time is when the decision is made"
	case name == "opa.runtime":
		return "policies see no environment; pass what they need as parameters"
	case name == "rand.intn", name == "uuid.rfc4122":
		return "the same input must give the same verdict"
	case name == "trace":
		return "use print in a test instead"
	case strings.HasPrefix(name, "io.jwt."), strings.HasPrefix(name, "crypto."), strings.HasPrefix(name, "providers."):
		return "policies hold no keys"
	case name == "net.cidr_expand":
		return "its result has no bound; use net.cidr_contains"
	}
	return "its cost has no bound"
}
