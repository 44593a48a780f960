package breakglass

import (
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// MaxValidity is the longest time between the beginning of a grant and its
// expiry.
const MaxValidity = 4 * time.Hour

// Verbs are what a grant can allow, as an AdmissionReview has them in capitals.
// Patch and apply are update; exec and its like are connect.
var Verbs = []string{"connect", "create", "delete", "update"}

// The bounds of the lists and texts of a grant.
const (
	maxPrincipals = 16
	maxScope      = 32 // resources, namespaces, names
	maxPrincipal  = 256
	maxReason     = 512
)

var (
	clusterPattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	resourcePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62})(/[a-z0-9]([a-z0-9-]{0,62}))?$`)
	noncePattern    = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// Validate lists what is wrong with a grant in itself: which cluster it is for,
// who signed it and what the time is are other questions. The API server's schema
// says the same and less; a grant may also come from a file.
func Validate(g *v1alpha1.BreakGlassGrant) field.ErrorList {
	at := field.NewPath("spec", "grant")
	var errs field.ErrorList
	if !clusterPattern.MatchString(g.Cluster) {
		errs = append(errs, field.Invalid(at.Child("cluster"), g.Cluster, "must be the UID of the cluster's namespace kube-system"))
	}
	if len(validation.IsDNS1123Subdomain(g.Trust)) > 0 {
		errs = append(errs, field.Invalid(at.Child("trust"), g.Trust, "must be the name of a TrustPolicy"))
	}
	if len(g.Users)+len(g.Groups) == 0 {
		errs = append(errs, field.Required(at.Child("users"), "say who may use the grant"))
	}
	errs = append(errs, texts(at.Child("users"), g.Users, 0, maxPrincipals, checkUser)...)
	errs = append(errs, texts(at.Child("groups"), g.Groups, 0, maxPrincipals, checkGroup)...)
	errs = append(errs, texts(at.Child("verbs"), g.Verbs, 1, len(Verbs), checkVerb)...)
	errs = append(errs, validateResources(at.Child("resources"), g.Resources)...)
	errs = append(errs, texts(at.Child("namespaces"), g.Namespaces, 0, maxScope, checkNamespace)...)
	errs = append(errs, texts(at.Child("names"), g.Names, 1, maxScope, checkName)...)
	if why := checkReason(g.Reason); why != "" {
		errs = append(errs, field.Invalid(at.Child("reason"), g.Reason, why))
	}
	errs = append(errs, validateTimes(at, g)...)
	if !noncePattern.MatchString(g.Nonce) {
		errs = append(errs, field.Invalid(at.Child("nonce"), g.Nonce, "must be 32 hexadecimal digits in lower case"))
	}
	return errs
}

// texts checks the length of a list, that nothing is in it twice, and each value.
func texts(at *field.Path, values []string, least, most int, check func(string) string) field.ErrorList {
	var errs field.ErrorList
	switch {
	case len(values) < least:
		return append(errs, field.Required(at, "must not be empty"))
	case len(values) > most:
		return append(errs, field.TooMany(at, len(values), most))
	}
	for i, v := range values {
		if slices.Contains(values[:i], v) {
			errs = append(errs, field.Duplicate(at.Index(i), v))
		} else if why := check(v); why != "" {
			errs = append(errs, field.Invalid(at.Index(i), v, why))
		}
	}
	return errs
}

// checkUser refuses names that belong to no person: what the control plane does
// under its own names, content decides and never a grant.
func checkUser(s string) string {
	if why := checkPrincipal(s); why != "" {
		return why
	}
	rest, system := strings.CutPrefix(s, "system:")
	if !system || rest == "admin" { // the administrator of some distributions
		return ""
	}
	account, isAccount := strings.CutPrefix(rest, "serviceaccount:")
	if namespace, name, ok := strings.Cut(account, ":"); isAccount && ok && namespace != "" && name != "" && namespace != metav1.NamespaceSystem {
		return ""
	}
	return "is an identity of the control plane: name a person"
}

func checkGroup(s string) string {
	if strings.HasPrefix(s, "system:") {
		return "is a group of the control plane, which no grant can bound: name people, or a group of your own"
	}
	return checkPrincipal(s)
}

// checkPrincipal admits what looks the same to everybody who reads it.
func checkPrincipal(s string) string {
	if s == "" || len(s) > maxPrincipal || strings.TrimSpace(s) != s {
		return "must have 1 to 256 characters, and no space at either end"
	}
	if strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' }) {
		return "must be of printable ASCII characters, so that no other name looks alike"
	}
	return ""
}

func checkVerb(s string) string {
	if !slices.Contains(Verbs, s) {
		return "must be create, update (patch and apply too), delete or connect (exec, attach, portforward, proxy)"
	}
	return ""
}

func checkNamespace(s string) string {
	if len(validation.IsDNS1123Label(s)) > 0 {
		return "must be the exact name of a namespace; for objects in no namespace leave namespaces out"
	}
	return ""
}

func checkName(s string) string {
	prefix, pattern := strings.CutSuffix(s, "*")
	problems := content.IsPathSegmentName
	if pattern {
		problems = content.IsPathSegmentPrefix
	}
	switch {
	case s == "" || len(s) > 253 || strings.Contains(prefix, "*") || len(problems(prefix)) > 0:
		return "must be a name; a * at its end stands for any rest"
	case strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' }):
		return "must be of printable ASCII characters without spaces"
	}
	return ""
}

// checkReason keeps the reason to one line that shows what it holds: nothing that
// hides text or turns its direction.
func checkReason(s string) string {
	if s == "" || strings.TrimSpace(s) != s || len(s) > maxReason || !utf8.ValidString(s) {
		return "must have 1 to 512 bytes of UTF-8, and no space at either end"
	}
	if strings.ContainsFunc(s, func(c rune) bool {
		return c != ' ' && (!unicode.IsGraphic(c) || unicode.IsSpace(c))
	}) {
		return "must be one line without control or invisible characters"
	}
	return ""
}

func validateResources(at *field.Path, resources []v1alpha1.BreakGlassResource) field.ErrorList {
	var errs field.ErrorList
	switch {
	case len(resources) == 0:
		return append(errs, field.Required(at, "must not be empty"))
	case len(resources) > maxScope:
		return append(errs, field.TooMany(at, len(resources), maxScope))
	}
	for i, r := range resources {
		text := ResourceText(r)
		main, sub, _ := strings.Cut(r.Resource, "/")
		switch {
		case slices.Contains(resources[:i], r):
			errs = append(errs, field.Duplicate(at.Index(i), text))
		case !resourcePattern.MatchString(r.Resource):
			errs = append(errs, field.Invalid(at.Index(i).Child("resource"), r.Resource, "must be a resource in the plural, with a subresource behind a slash if it is for one: pods, pods/exec"))
		case r.Group != "" && len(validation.IsDNS1123Subdomain(r.Group)) > 0:
			errs = append(errs, field.Invalid(at.Index(i).Child("group"), r.Group, "must be an API group, as in apps; leave it out for the core group"))
		default:
			if why := rootResource(r.Group, main, sub); why != "" {
				errs = append(errs, field.Forbidden(at.Index(i), "no grant opens "+text+": "+why))
			}
		}
	}
	return errs
}

func validateTimes(at *field.Path, g *v1alpha1.BreakGlassGrant) field.ErrorList {
	var errs field.ErrorList
	for name, t := range map[string]metav1.Time{"notBefore": g.NotBefore, "expiry": g.Expiry} {
		if y := t.UTC().Year(); t.Nanosecond() != 0 || y < 2000 || y > 9999 {
			errs = append(errs, field.Invalid(at.Child(name), t.String(), "must be a time of whole seconds, as in 2006-01-02T15:04:05Z"))
		}
	}
	if len(errs) > 0 {
		return errs
	}
	switch validity := g.Expiry.Sub(g.NotBefore.Time); {
	case validity <= 0:
		errs = append(errs, field.Invalid(at.Child("expiry"), stamp(g.Expiry), "must be after notBefore"))
	case validity > MaxValidity:
		errs = append(errs, field.Invalid(at.Child("expiry"), stamp(g.Expiry), "must be at most 4h after notBefore"))
	}
	return errs
}
