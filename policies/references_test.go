package policies_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// cis holds the titles of section 5 of the CIS Kubernetes Benchmark v1.8.0 that
// rules refer to. Later editions number section 5.2 anew.
var cis = map[string]string{
	"5.1.1":  "Ensure that the cluster-admin role is only used where required",
	"5.1.2":  "Minimize access to secrets",
	"5.1.3":  "Minimize wildcard use in Roles and ClusterRoles",
	"5.1.4":  "Minimize access to create pods",
	"5.1.5":  "Ensure that default service accounts are not actively used",
	"5.1.6":  "Ensure that Service Account Tokens are only mounted where necessary",
	"5.1.7":  "Avoid use of system:masters group",
	"5.1.8":  "Limit use of the Bind, Impersonate and Escalate permissions in the Kubernetes cluster",
	"5.1.9":  "Minimize access to create persistent volumes",
	"5.1.10": "Minimize access to the proxy sub-resource of nodes",
	"5.1.11": "Minimize access to the approval sub-resource of certificatesigningrequests objects",
	"5.1.12": "Minimize access to webhook configuration objects",
	"5.1.13": "Minimize access to the service account token creation",
	"5.2.2":  "Minimize the admission of privileged containers",
	"5.2.3":  "Minimize the admission of containers wishing to share the host process ID namespace",
	"5.2.4":  "Minimize the admission of containers wishing to share the host IPC namespace",
	"5.2.5":  "Minimize the admission of containers wishing to share the host network namespace",
	"5.2.6":  "Minimize the admission of containers with allowPrivilegeEscalation",
	"5.2.7":  "Minimize the admission of root containers",
	"5.2.8":  "Minimize the admission of containers with the NET_RAW capability",
	"5.2.9":  "Minimize the admission of containers with added capabilities",
	"5.2.10": "Minimize the admission of containers with capabilities assigned",
	"5.2.11": "Minimize the admission of Windows HostProcess containers",
	"5.2.12": "Minimize the admission of HostPath volumes",
	"5.2.13": "Minimize the admission of containers which use HostPorts",
	"5.3.2":  "Ensure that all Namespaces have NetworkPolicies defined",
	"5.4.1":  "Prefer using Secrets as files over Secrets as environment variables",
	"5.5.1":  "Configure Image Provenance using ImagePolicyWebhook admission controller",
	"5.7.2":  "Ensure that the seccomp profile is set to docker/default in your Pod definitions",
	"5.7.4":  "The default namespace should not be used",
}

// nsa holds the sections of the Kubernetes Hardening Guide of NSA and CISA,
// version 1.2, that rules refer to.
var nsa = []string{
	"Building secure container images", "Control plane hardening", "Immutable container filesystems",
	"Network policies", "Network separation and hardening", "Protecting Pod service account tokens",
	"Resource policies", "Role-based access control", "Secrets",
}

// pss holds the controls of the Pod Security Standards.
var pss = []string{
	"baseline: /proc Mount Type", "baseline: AppArmor", "baseline: Capabilities", "baseline: Host Namespaces",
	"baseline: Host Ports", "baseline: Host Probes / Lifecycle Hooks", "baseline: HostPath Volumes",
	"baseline: HostProcess", "baseline: Privileged Containers", "baseline: SELinux", "baseline: Seccomp", "baseline: Sysctls",
	"restricted: /proc Mount Type", "restricted: Capabilities", "restricted: Privilege Escalation",
	"restricted: Running as Non-root", "restricted: Running as Non-root user", "restricted: Seccomp", "restricted: Volume Types",
}

// slsa holds pages of SLSA v1.0 that rules refer to.
var slsa = []string{"Provenance", "Security levels", "Verifying artifacts"}

var cve = regexp.MustCompile(`^CVE-20[0-9]{2}-[0-9]{4,5}$`)

// references returns what a rule refers to, each of which must be known.
func references(t *testing.T, name string, a *ast.Annotations) []string {
	t.Helper()
	list, _ := a.Custom["references"].([]any)
	out := make([]string, 0, len(list))
	for _, item := range list {
		ref, _ := item.(string)
		source, id, _ := strings.Cut(ref, " ")
		_, inCIS := cis[id]
		switch {
		case source == "CIS" && inCIS, source == "NSA" && slices.Contains(nsa, id),
			source == "PSS" && slices.Contains(pss, id), source == "SLSA" && slices.Contains(slsa, id), cve.MatchString(ref):
		default:
			t.Errorf("%s refers to %q, which is not known", name, ref)
		}
		out = append(out, ref)
	}
	return out
}

// TestReferencesAreUsed keeps the lists to what rules refer to.
func TestReferencesAreUsed(t *testing.T) {
	used := map[string]bool{}
	for _, mod := range modules(t) {
		for _, a := range mod.Annotations {
			for _, ref := range references(t, mod.Package.Path.String(), a) {
				used[ref] = true
			}
		}
	}
	var known []string
	for id := range cis {
		known = append(known, fmt.Sprintf("CIS %s", id))
	}
	for _, section := range nsa {
		known = append(known, "NSA "+section)
	}
	for _, control := range pss {
		known = append(known, "PSS "+control)
	}
	for _, ref := range known {
		if !used[ref] {
			t.Errorf("no rule refers to %s", ref)
		}
	}
}
