package breakglass

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// Namespace is that of SSH signatures over grants (ssh-keygen -Y sign -n).
const Namespace = "gitgate-breakglass"

// payloadHeader names the format. What comes to mean something else gets another.
const payloadHeader = "gitgate break-glass grant v1"

// Payload returns the bytes that are signed. They are the same for equal grants,
// whatever the order of their lists, and different for different ones: each value
// has a line of its own, which it cannot end, behind its key. It fails on a grant
// that [Validate] refuses.
func Payload(g *v1alpha1.BreakGlassGrant) ([]byte, error) {
	if errs := Validate(g); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	var b strings.Builder
	b.WriteString(payloadHeader + "\n")
	line := func(key string, values ...string) {
		for _, v := range values {
			fmt.Fprintf(&b, "%s: %s\n", key, v)
		}
	}
	line("cluster", g.Cluster)
	line("trust", g.Trust)
	line("user", sorted(g.Users)...)
	line("group", sorted(g.Groups)...)
	line("verb", sorted(g.Verbs)...)
	resources := make([]string, len(g.Resources))
	for i, r := range g.Resources {
		resources[i] = ResourceText(r)
	}
	line("resource", sorted(resources)...)
	line("namespace", sorted(g.Namespaces)...)
	line("name", sorted(g.Names)...)
	line("reason", g.Reason)
	line("not-before", stamp(g.NotBefore))
	line("expiry", stamp(g.Expiry))
	line("nonce", g.Nonce)
	return []byte(b.String()), nil
}

func sorted(values []string) []string { return slices.Sorted(slices.Values(values)) }

func stamp(t metav1.Time) string { return t.UTC().Format(time.RFC3339) }

// namePrefix begins the name of every grant.
const namePrefix = "breakglass-"

// Name is the only name under which a grant with this payload counts.
func Name(payload []byte) string {
	sum := sha256.Sum256(payload)
	return namePrefix + hex.EncodeToString(sum[:12])
}

// ResourceText writes a resource as kubectl does: deployments.apps,
// pods/exec, deployments.apps/scale.
func ResourceText(r v1alpha1.BreakGlassResource) string {
	main, sub, divided := strings.Cut(r.Resource, "/")
	if r.Group != "" {
		main += "." + r.Group
	}
	if divided {
		main += "/" + sub
	}
	return main
}

// ParseResource reads what [ResourceText] writes.
func ParseResource(s string) v1alpha1.BreakGlassResource {
	main, sub, divided := strings.Cut(s, "/")
	resource, group, _ := strings.Cut(main, ".")
	if divided {
		resource += "/" + sub
	}
	return v1alpha1.BreakGlassResource{Group: group, Resource: resource}
}
