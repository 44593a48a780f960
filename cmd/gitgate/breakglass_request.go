package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/breakglass"
)

// breakGlassRequest holds the flags of gitgate breakglass request.
type breakGlassRequest struct {
	cluster    clusterFlags
	trust      string
	users      []string
	groups     []string
	verbs      []string
	resources  []string
	namespaces []string
	names      []string
	reason     string
	validity   time.Duration
	notBefore  string
	file       string
}

func newBreakGlassRequestCommand() *cobra.Command {
	var o breakGlassRequest
	cmd := &cobra.Command{
		Use:   "request",
		Short: "Write a grant to a file",
		Long: `Request writes an unsigned grant as YAML. It asks the cluster for its UID and for
the TrustPolicy, unless --cluster and --trust-policy say them; then it needs no
cluster.

Resources are written as kubectl does, in the plural: deployments.apps, pods,
pods/exec, deployments.apps/scale. One does not include its subresources. Without
--namespace the grant is for objects that are in no namespace. A name may end in
* for any rest; * alone is any name.

The verbs are create, update (patch, edit and apply too), delete and connect
(exec, attach, portforward, proxy).`,
		Example: `  # change one Deployment, for an hour
  gitgate breakglass request --as oscar@example.com --verb update --resource deployments.apps \
    --namespace shop --name web --reason "INC-17: checkout is down" --for 1h --file inc-17.yaml

  # look into its Pods as well; no cluster is asked
  gitgate breakglass request --as oscar@example.com --verb connect --resource pods/exec -n shop --name 'web-*' \
    --reason INC-17 --for 30m --cluster 6f0d0f3e-9f8c-4b1c-8d5e-1c2f3a4b5c6d --trust-policy production >inc-17.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.users, "as", nil, "exact `user` name, as kubectl auth whoami shows it; may be given again")
	f.StringArrayVar(&o.groups, "as-group", nil, "`group` whose members may use the grant; may be given again")
	f.StringSliceVar(&o.verbs, "verb", nil, "`verb`: create, update, delete or connect; may be given again")
	f.StringSliceVar(&o.resources, "resource", nil, "`resource`, as in deployments.apps or pods/exec; may be given again")
	f.StringSliceVarP(&o.namespaces, "namespace", "n", nil, "`namespace` of the objects; may be given again")
	f.StringSliceVar(&o.names, "name", nil, "`name` of the objects; may be given again")
	f.StringVar(&o.reason, "reason", "", "why, in one line, for who signs and for the log")
	f.DurationVar(&o.validity, "for", time.Hour, "how long the grant counts, at most 4h")
	f.StringVar(&o.notBefore, "not-before", "", "`time` at which the grant begins, as in 2006-01-02T15:04:05Z; empty is now")
	f.StringVar(&o.trust, "trust-policy", "", "`name` of the TrustPolicy whose signers vouch; empty is the only one of the cluster that has some")
	f.StringVarP(&o.file, "file", "f", "-", "`file` to write; - is standard output")
	o.cluster.register(f)
	for _, name := range []string{"verb", "resource", "name", "reason"} {
		_ = cmd.MarkFlagRequired(name) // fails for flags that do not exist alone
	}
	cmd.MarkFlagsOneRequired("as", "as-group")
	_ = cmd.RegisterFlagCompletionFunc("verb", cobra.FixedCompletions(breakglass.Verbs, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *breakGlassRequest) run(ctx context.Context, stdout, stderr io.Writer) error {
	g := &v1alpha1.BreakGlass{}
	grant := &g.Spec.Grant
	grant.Users, grant.Groups, grant.Verbs = o.users, o.groups, o.verbs
	grant.Namespaces, grant.Names, grant.Reason = o.namespaces, o.names, o.reason
	for _, r := range o.resources {
		grant.Resources = append(grant.Resources, breakglass.ParseResource(r))
	}
	begin := time.Now()
	if o.notBefore != "" {
		var err error
		if begin, err = time.Parse(time.RFC3339, o.notBefore); err != nil {
			return fmt.Errorf("--not-before %q: want a time as in 2006-01-02T15:04:05Z", o.notBefore)
		}
	}
	begin = begin.UTC().Truncate(time.Second)
	grant.NotBefore, grant.Expiry = metav1.NewTime(begin), metav1.NewTime(begin.Add(o.validity.Truncate(time.Second)))
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	grant.Nonce = hex.EncodeToString(nonce[:])
	if err := o.complete(grant); err != nil {
		return err
	}
	if err := o.fromCluster(ctx, grant); err != nil {
		return err
	}
	payload, err := breakglass.Payload(grant)
	if err != nil {
		return o.explain(grant)
	}
	g.Name = breakglass.Name(payload)
	if err := writeGrant(o.file, stdout, g); err != nil {
		return err
	}
	file := o.file
	if file == "-" {
		file = "FILE"
	}
	for _, note := range grantNotes(grant) {
		fmt.Fprintf(stderr, "note: %s\n", note)
	}
	fmt.Fprintf(stderr, "%s counts until %s once enough people have signed it:\n  gitgate breakglass sign %s --key ~/.ssh/id_ed25519\n",
		g.Name, grant.Expiry.UTC().Format(time.RFC3339), file)
	return nil
}

// complete refuses grants that are well-formed and could never cover anything.
func (o *breakGlassRequest) complete(g *v1alpha1.BreakGlassGrant) error {
	connects := 0
	for i, r := range g.Resources {
		main, sub, _ := strings.Cut(r.Resource, "/")
		if slices.Contains(connectSubresources, sub) {
			connects++
		}
		known, ok := builtinResources[main]
		switch {
		case ok && r.Group != known.group && r.Group == "":
			return fmt.Errorf("--resource %s: %s are in the group %s: say %s", o.resources[i], main, known.group,
				breakglass.ResourceText(v1alpha1.BreakGlassResource{Group: known.group, Resource: r.Resource}))
		case !ok || r.Group != known.group:
		case known.namespaced && len(g.Namespaces) == 0:
			return fmt.Errorf("--resource %s: these are in a namespace: say --namespace", o.resources[i])
		case !known.namespaced && len(g.Namespaces) > 0:
			return fmt.Errorf("--resource %s: these are in no namespace: request a grant of their own, without --namespace", o.resources[i])
		}
	}
	switch connect := slices.Contains(g.Verbs, "connect"); {
	case connect && connects == 0:
		return fmt.Errorf("--verb connect: needs a resource to connect to, as in --resource pods/exec")
	case !connect && connects > 0:
		return fmt.Errorf("--resource %s: needs --verb connect", strings.Join(o.resources, ","))
	case len(g.Verbs) == 1 && connect && connects < len(g.Resources):
		return fmt.Errorf("--resource %s: with --verb connect alone every resource must be one to connect to, as in pods/exec", strings.Join(o.resources, ","))
	}
	return nil
}

// fromCluster fills in what the flags leave out.
func (o *breakGlassRequest) fromCluster(ctx context.Context, g *v1alpha1.BreakGlassGrant) error {
	g.Cluster, g.Trust = o.cluster.uid, o.trust
	if g.Cluster != "" && g.Trust != "" {
		return nil
	}
	c, err := o.cluster.connect()
	if err != nil {
		return fmt.Errorf("%w; or say --cluster and --trust-policy", err)
	}
	if g.Cluster == "" {
		if g.Cluster, err = c.uid(ctx); err != nil {
			return fmt.Errorf("%w; or say --cluster", err)
		}
	}
	if g.Trust == "" {
		if g.Trust, err = c.onlyTrust(ctx); err != nil {
			return fmt.Errorf("%w; or say --trust-policy", err)
		}
	}
	return nil
}

// explain puts what is wrong with a grant into the words of the flags.
func (o *breakGlassRequest) explain(g *v1alpha1.BreakGlassGrant) error {
	flags := map[string]string{"users": "--as", "groups": "--as-group", "verbs": "--verb", "resources": "--resource", "namespaces": "--namespace",
		"names": "--name", "reason": "--reason", "expiry": "--for", "notBefore": "--not-before", "cluster": "--cluster", "trust": "--trust-policy"}
	var lines []string
	for _, e := range breakglass.Validate(g) {
		name, _, _ := strings.Cut(strings.TrimPrefix(e.Field, "spec.grant."), "[")
		name, _, _ = strings.Cut(name, ".")
		if flag, ok := flags[name]; ok {
			lines = append(lines, flag+": "+e.ErrorBody())
		} else {
			lines = append(lines, e.Error())
		}
	}
	return fmt.Errorf("%s", strings.Join(lines, "; "))
}
