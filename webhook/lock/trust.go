package lock

import (
	"strings"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy/verdict"
)

// trustEntries are the endings of the entries by which a Secret or ConfigMap of our
// own namespace is a trust root: the keys of signers, and policies.
var trustEntries = []string{".asc", ".rego"}

// trustSource judges what TrustPolicies and PolicySets may take keys and rules from.
// Which of them is taken is not known here, so all are, by what they hold: whoever
// adds a key signs commits. It does not decide over anything else.
func (r *review) trustSource() (ruling, bool) {
	if r.snap.records[r.key] != nil {
		return ruling{}, false // its content is judged
	}
	if g, ok := r.decode(); !ok {
		return g, true
	}
	if !holdsTrust(r.old) && !holdsTrust(r.new) {
		return ruling{}, false
	}
	if r.req.Operation == admissionv1.Update && r.old != nil && r.new != nil {
		return r.frozen(r.snap.top, "signers or policies are known by it").sealed(), true
	}
	return deny(MatchedIdentity, r.snap.top, verdict.NotInGit, "%s is not in Git, and signers or policies are known by it", r.what()).sealed(), true
}

// holdsTrust reports whether an entry ends as those do that count.
func holdsTrust(obj map[string]any) bool {
	for _, field := range [...]string{"data", "stringData", "binaryData"} {
		for name := range object(obj, field) {
			for _, end := range trustEntries {
				if strings.HasSuffix(name, end) {
					return true
				}
			}
		}
	}
	return false
}
