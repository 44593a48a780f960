package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"gitgate.dev/gitgate/webhook/doctor"
)

// maxShown is how many details of a check people are shown without --all.
const maxShown = 20

// A doctorOptions holds the flags of gitgate doctor.
type doctorOptions struct {
	kubeconfig string
	context    string
	namespace  string
	output     string
	preflight  bool
	all        bool
	timeout    time.Duration
}

func newDoctorCommand() *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:     "doctor",
		GroupID: serverGroup,
		Short:   "Check a cluster: can gitgate work there, does it, and who could go around it",
		Long: `doctor looks at a cluster and changes nothing. It checks the API server and its
clock, the registration, certificate and replicas of the webhook and what an
outage of it would hold up, who could go around it by rights that RBAC gives, and
what GitSyncs, TrustPolicies and PolicySets say of themselves.

Exit codes: 0 nothing failed, 1 a check failed, 2 wrong use, 3 something could not
be found out. Warnings do not count.`,
		Example: `  # before installing
  gitgate doctor --preflight

  # what failed, for a script
  gitgate doctor -o json | jq '.checks[] | select(.status == "fail")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` to reach the cluster with; empty means as kubectl finds it")
	f.StringVar(&o.context, "context", "", "`name` of the context in the kubeconfig; empty means the current one")
	f.StringVar(&o.namespace, "namespace", envOr("POD_NAMESPACE", "gitgate-system"), "gitgate's own `namespace`")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.BoolVar(&o.preflight, "preflight", false, "leave out what there is only once gitgate is installed")
	f.BoolVar(&o.all, "all", false, "show what the control plane's own identities may do too, and every detail")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "how long to look at most")
	return cmd
}

func (o *doctorOptions) run(ctx context.Context, out io.Writer) error {
	print, ok := map[string]func(io.Writer, doctor.Report) error{"text": o.printText, "json": printDiagnosis}[o.output]
	if !ok {
		return fmt.Errorf("--output %q: want text or json", o.output)
	}
	klog.SetLogger(logr.Discard()) // what goes wrong is in the report
	ctrl.SetLogger(logr.Discard())
	config, err := o.restConfig()
	if err != nil {
		return fmt.Errorf("no cluster to look at: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	report, err := doctor.Run(ctx, doctor.Config{REST: config, Namespace: o.namespace, Preflight: o.preflight, All: o.all})
	if err != nil {
		return err
	}
	if err := print(out, report); err != nil {
		return &exitError{code: exitUndetermined, err: err}
	}
	switch report.Status() {
	case doctor.OK, doctor.Warn:
		return nil
	case doctor.Fail:
		return denied()
	}
	return undetermined()
}

func (o *doctorOptions) restConfig() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: o.context}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		return nil, err
	}
	config.UserAgent = "gitgate/" + version
	config.QPS = -1 // the API server's own fairness decides
	return config, nil
}

// printText prints the report for people: one line a check, and below it what and
// what to do.
func (o *doctorOptions) printText(out io.Writer, r doctor.Report) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.StripEscape)
	for _, c := range r.Checks {
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.Status, c.ID, c.Message)
		for i, line := range c.Details {
			if i == maxShown && !o.all {
				fmt.Fprintf(w, "\t\t- and %d more; --all shows them\n", len(c.Details)-i)
				break
			}
			fmt.Fprintf(w, "\t\t- %s\n", line)
		}
		if c.Advice != "" {
			fmt.Fprintf(w, "\t\tto do: %s\n", c.Advice)
		}
	}
	fmt.Fprintf(w, "\n%d ok, %d warnings, %d failed, %d unknown\n",
		r.Count(doctor.OK), r.Count(doctor.Warn), r.Count(doctor.Fail), r.Count(doctor.Unknown))
	return w.Flush()
}

// printDiagnosis prints the report for programs.
func printDiagnosis(out io.Writer, r doctor.Report) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Kind   string        `json:"kind"`
		Status doctor.Status `json:"status"`
		doctor.Report
	}{"Diagnosis", r.Status(), r})
}
