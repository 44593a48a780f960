package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/breakglass"
)

// breakGlassApply holds the flags of gitgate breakglass apply.
type breakGlassApply struct {
	cluster clusterFlags
	trust   string
	system  string
	dryRun  bool
}

func newBreakGlassApplyCommand() *cobra.Command {
	var o breakGlassApply
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Check a grant and send it to the cluster",
		Long: `Apply checks a grant by the rules of the webhook: its signatures against the
TrustPolicy that it names, its time and its cluster. If it counts, it is sent.

With --dry-run nothing is sent; with --trust and --cluster in addition no cluster is
asked.

Exit codes: 0 the grant counts, 1 it does not, 2 wrong use or input, 3 the cluster
could not be asked.`,
		Example: `  gitgate breakglass apply inc-17.yaml

  # would it count? no cluster is asked
  gitgate breakglass apply inc-17.yaml --dry-run --trust trust.yaml --cluster 6f0d0f3e-9f8c-4b1c-8d5e-1c2f3a4b5c6d`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), args[0], cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.trust, "trust", "", "`file` with the TrustPolicy; empty asks the cluster")
	f.StringVar(&o.system, "system-namespace", "gitgate-system", "gitgate's own `namespace`, which no grant opens")
	f.BoolVar(&o.dryRun, "dry-run", false, "only check")
	o.cluster.register(f)
	_ = cmd.MarkFlagFilename("trust", "yaml", "yml", "json") // fails for flags that do not exist alone
	return cmd
}

func (o *breakGlassApply) run(ctx context.Context, file string, stdin io.Reader, stdout io.Writer) error {
	g, err := readGrant(file, stdin)
	if err != nil {
		return err
	}
	if _, err := grantPayload(file, g); err != nil {
		return err
	}
	var c *grantCluster
	if !o.dryRun || o.trust == "" || o.cluster.uid == "" {
		if c, err = o.cluster.connect(); err != nil {
			return err
		}
	}
	book, err := o.book(ctx, c)
	if err != nil {
		return err
	}
	state := book.Check(g)
	if state.Phase == breakglass.Active || state.Phase == breakglass.Pending {
		if !o.dryRun {
			err = c.create(ctx, g)
		}
		if err == nil {
			_, err = fmt.Fprintln(stdout, describeGrant(state, time.Now()))
		}
		return err
	}
	fmt.Fprintln(stdout, describeGrant(state, time.Now()))
	return denied()
}

// book knows the trust by which the grant is checked.
func (o *breakGlassApply) book(ctx context.Context, c *grantCluster) (*breakglass.Book, error) {
	var trusts []v1alpha1.TrustPolicy
	var err error
	if o.trust != "" {
		policy, err := readTrustPolicy(o.trust)
		if err != nil {
			return nil, err
		}
		trusts = append(trusts, *policy)
	} else if trusts, err = c.trusts(ctx); err != nil {
		return nil, err
	}
	uid := o.cluster.uid
	if uid == "" {
		if uid, err = c.uid(ctx); err != nil {
			return nil, err
		}
	}
	return newGrantBook(uid, o.system, trusts)
}

// create sends a grant. That it is there already is as good.
func (c *grantCluster) create(ctx context.Context, g *v1alpha1.BreakGlass) error {
	fresh := &v1alpha1.BreakGlass{Spec: g.Spec}
	fresh.Name = g.Name
	err := c.client.Create(ctx, fresh)
	if apierrors.IsAlreadyExists(err) {
		var there v1alpha1.BreakGlass
		if err := c.client.Get(ctx, client.ObjectKey{Name: g.Name}, &there); err != nil {
			return unreachable(err)
		}
		switch {
		case there.Spec.Revoked:
			return &exitError{code: exitDenied, err: fmt.Errorf("%s was revoked: request another", g.Name)}
		case !equality.Semantic.DeepEqual(there.Spec, g.Spec):
			return &exitError{code: exitDenied, err: fmt.Errorf("%s is in the cluster already, with other signatures", g.Name)}
		}
		return nil
	}
	return refusal(err)
}

// refusal tells what the API server refuses from what it could not be asked.
func refusal(err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsNotFound(err):
		return &exitError{code: exitDenied, err: errors.New(oneLine(err))}
	}
	return unreachable(err)
}

// describeGrant says in one line where a grant stands; for a refused one, further
// lines say why each signature does not count.
func describeGrant(s breakglass.State, now time.Time) string {
	who := "signed by " + strings.Join(s.People, ", ")
	switch s.Phase {
	case breakglass.Active:
		return fmt.Sprintf("%s counts for %s, %s", s.Name, s.Grant.Expiry.Sub(now).Round(time.Second), who)
	case breakglass.Pending:
		return fmt.Sprintf("%s counts in %s for %s, %s", s.Name, s.Grant.NotBefore.Sub(now).Round(time.Second), s.Grant.Expiry.Sub(s.Grant.NotBefore.Time), who)
	case breakglass.Expired:
		return fmt.Sprintf("%s expired at %s", s.Name, s.Grant.Expiry.UTC().Format(time.RFC3339))
	case breakglass.Revoked:
		return fmt.Sprintf("%s was revoked", s.Name)
	}
	return fmt.Sprintf("%s does not count: %s", s.Name, strings.ReplaceAll(fmt.Sprint(s.Err), "\n", "\n  "))
}
