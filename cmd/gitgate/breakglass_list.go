package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/breakglass"
)

// breakGlassList holds the flags of gitgate breakglass list.
type breakGlassList struct {
	cluster clusterFlags
	system  string
	output  string
}

func newBreakGlassListCommand() *cobra.Command {
	var o breakGlassList
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the grants of the cluster",
		Long: `List shows the grants of the cluster, each verified by the TrustPolicies of the
cluster at this moment:

  active    counts
  pending   has not begun
  refused   does not count; -o json says why
  revoked   was taken back
  expired   is over

With -o json each line is an object with name, phase, seconds (that remain),
notBefore, expiry, users, groups, verbs, resources, namespaces, names, reason,
signedBy, threshold and error.`,
		Example: `  gitgate breakglass list
  gitgate breakglass list -o json | jq -r 'select(.phase == "active").name'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.StringVar(&o.system, "system-namespace", "gitgate-system", "gitgate's own `namespace`, which no grant opens")
	o.cluster.registerAccess(f)
	// Fails for flags that do not exist alone.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *breakGlassList) run(ctx context.Context, stdout io.Writer) error {
	if o.output != "text" && o.output != "json" {
		return fmt.Errorf("-o %s: use text or json", o.output)
	}
	c, err := o.cluster.connect()
	if err != nil {
		return err
	}
	states, err := c.states(ctx, o.system)
	if err != nil {
		return err
	}
	if o.output == "json" {
		return printGrantsJSON(stdout, states, time.Now())
	}
	return printGrants(stdout, states, time.Now())
}

// states verifies all grants of the cluster.
func (c *grantCluster) states(ctx context.Context, system string) ([]breakglass.State, error) {
	uid, err := c.uid(ctx)
	if err != nil {
		return nil, err
	}
	trusts, err := c.trusts(ctx)
	if err != nil {
		return nil, err
	}
	var grants v1alpha1.BreakGlassList
	if err := c.client.List(ctx, &grants); err != nil {
		return nil, unreachable(err)
	}
	book, err := newGrantBook(uid, system, trusts)
	if err != nil {
		return nil, err
	}
	for i := range grants.Items {
		_ = book.Set(&grants.Items[i]) // its state says why
	}
	states := book.List()
	order := []breakglass.Phase{breakglass.Active, breakglass.Pending, breakglass.Refused, breakglass.Revoked, breakglass.Expired}
	slices.SortStableFunc(states, func(a, b breakglass.State) int {
		return slices.Index(order, a.Phase) - slices.Index(order, b.Phase)
	})
	return states, nil
}

// remaining is for how long a grant counts yet.
func remaining(s breakglass.State, now time.Time) time.Duration {
	if s.Phase != breakglass.Active {
		return 0
	}
	return max(0, s.Grant.Expiry.Sub(now).Round(time.Second))
}

// printGrants writes a table. What a refused grant says was written by whoever
// made it and may steer a terminal.
func printGrants(w io.Writer, states []breakglass.State, now time.Time) error {
	if len(states) == 0 {
		_, err := fmt.Fprintln(w, "no grants")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tPHASE\tREMAINING\tWHO\tWHAT\tWHERE\tREASON")
	for _, s := range states {
		left := "-"
		if d := remaining(s, now); d > 0 {
			left = d.String()
		}
		where := "no namespace"
		if len(s.Grant.Namespaces) > 0 {
			where = strings.Join(s.Grant.Namespaces, ",")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.Phase, left,
			report.Printable(strings.Join(slices.Concat(s.Grant.Users, s.Grant.Groups), ",")),
			report.Printable(strings.Join(s.Grant.Verbs, ",")+" "+strings.Join(resourceTexts(s.Grant), ",")+" "+strings.Join(s.Grant.Names, ",")),
			report.Printable(where), report.Printable(s.Grant.Reason))
	}
	return t.Flush()
}

func resourceTexts(g *v1alpha1.BreakGlassGrant) []string {
	out := make([]string, len(g.Resources))
	for i, r := range g.Resources {
		out[i] = breakglass.ResourceText(r)
	}
	return out
}

// grantLine is one line of -o json. It is API for scripts.
type grantLine struct {
	Name       string           `json:"name"`
	Phase      breakglass.Phase `json:"phase"`
	Seconds    int64            `json:"seconds"`
	NotBefore  time.Time        `json:"notBefore"`
	Expiry     time.Time        `json:"expiry"`
	Users      []string         `json:"users,omitempty"`
	Groups     []string         `json:"groups,omitempty"`
	Verbs      []string         `json:"verbs"`
	Resources  []string         `json:"resources"`
	Namespaces []string         `json:"namespaces,omitempty"`
	Names      []string         `json:"names"`
	Reason     string           `json:"reason"`
	SignedBy   []string         `json:"signedBy,omitempty"`
	Threshold  int              `json:"threshold,omitempty"`
	Error      string           `json:"error,omitempty"`
}

func printGrantsJSON(w io.Writer, states []breakglass.State, now time.Time) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	for _, s := range states {
		l := grantLine{
			Name: s.Name, Phase: s.Phase, Seconds: int64(remaining(s, now).Seconds()),
			NotBefore: s.Grant.NotBefore.UTC(), Expiry: s.Grant.Expiry.UTC(),
			Users: s.Grant.Users, Groups: s.Grant.Groups, Verbs: s.Grant.Verbs, Resources: resourceTexts(s.Grant),
			Namespaces: s.Grant.Namespaces, Names: s.Grant.Names, Reason: s.Grant.Reason, SignedBy: s.People, Threshold: s.Threshold,
		}
		if s.Err != nil {
			l.Error = strings.ReplaceAll(s.Err.Error(), "\n", "; ")
		}
		if err := encoder.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

func newBreakGlassRevokeCommand() *cobra.Command {
	var cluster clusterFlags
	cmd := &cobra.Command{
		Use:   "revoke NAME...",
		Short: "End grants before their time",
		Long: `Revoke ends grants at once and for good. It needs no signature, only the right to
update the objects. What was changed under a grant is put back then, as when it
expires.

Exit codes: 0 revoked, 1 refused, 2 wrong use, 3 the cluster could not be asked.`,
		Example: `  gitgate breakglass revoke breakglass-ced338d5694c38177df5f610`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := cluster.connect()
			if err != nil {
				return err
			}
			for _, name := range args {
				g := &v1alpha1.BreakGlass{}
				g.Name = name
				patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"revoked":true}}`))
				if err := refusal(c.client.Patch(cmd.Context(), g, patch)); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s revoked\n", name)
			}
			return nil
		},
	}
	cluster.registerAccess(cmd.Flags())
	return cmd
}
