package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy/report"
	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// An exceptOptions holds the flags of gitgate policy except.
type exceptOptions struct {
	owner, reason, expires string
	objects, rules         []string
	now                    func() time.Time
}

func newPolicyExceptCommand() *cobra.Command {
	o := exceptOptions{now: time.Now}
	cmd := &cobra.Command{
		Use:   "except FILE|- --owner OWNER --reason TEXT --expires TIME",
		Short: "Write a PolicyException for what a verdict refuses",
		Long: `Except reads verdicts, as gitgate check -o json and the decision logs write them, and
writes a PolicyException for each object that rules refuse: these rules, this object,
and nothing else. Only what rules said on purpose can be excepted; rules that failed,
images, signatures and secrets cannot.

An exception counts once it is in a file that the TrustPolicy reserves for them
(spec.exceptions.paths), is part of what the GitSync applies, and is signed by one of
spec.exceptions.signers. It ends by itself, a year from now at the most.

Exit codes: 0 written, 2 wrong use, or nothing that could be excepted.`,
		Example: `  gitgate check -c gitgate/ -o json | gitgate policy except - \
    --owner team-web --reason "needs the host's log until 2.0" --expires 30d > exceptions/web.yaml

  # one object and one rule of many
  gitgate policy except verdict.json --object shop/Deployment.apps/web --rule baseline/pss.deny \
    --owner team-web --reason "..." --expires 2026-12-31`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(args[0], cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.owner, "owner", "", "`OWNER` who answers for the exception: a team, or an address")
	f.StringVar(&o.reason, "reason", "", "`TEXT` that says why there is an exception")
	f.StringVar(&o.expires, "expires", "", "`TIME` of its end: 30d, 2026-12-31 or 2026-12-31T12:00:00Z; at most a year ahead")
	f.StringArrayVar(&o.objects, "object", nil, "`NAMESPACE/KIND.GROUP/NAME` of an object to except, as findings name it; by default all; may be repeated")
	f.StringArrayVar(&o.rules, "rule", nil, "`SET/PACKAGE.RULE` to except, as findings name it; by default all; may be repeated")
	for _, name := range []string{"owner", "reason", "expires"} {
		_ = cmd.MarkFlagRequired(name) // it exists
	}
	return cmd
}

func (o *exceptOptions) run(file string, stdin io.Reader, stdout io.Writer) error {
	end, err := o.end()
	if err != nil {
		return err
	}
	for flag, value := range map[string]struct {
		text string
		most int
	}{"owner": {o.owner, 128}, "reason": {o.reason, 512}} {
		if strings.TrimSpace(value.text) == "" || len(value.text) > value.most {
			return fmt.Errorf("--%s: give a text of at most %d bytes", flag, value.most)
		}
	}
	raw, err := readVerdictFile(file, stdin)
	if err != nil {
		return err
	}
	found, err := refusals(file, raw)
	if err != nil {
		return err
	}
	exceptions, err := o.exceptions(found, end)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for i, e := range exceptions {
		text, err := yaml.Marshal(e)
		if err != nil {
			return err
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(text)
	}
	_, err = stdout.Write(out.Bytes())
	return err
}

// end is when the exception ends.
func (o *exceptOptions) end() (time.Time, error) {
	now := o.now().UTC()
	bad := fmt.Errorf("--expires %s: use 30d, 2026-12-31 or 2026-12-31T12:00:00Z", o.expires)
	var end time.Time
	if days, ok := strings.CutSuffix(o.expires, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n > 366 {
			return end, bad
		}
		end = now.AddDate(0, 0, n).Truncate(time.Second)
	} else {
		var err error
		if end, err = time.Parse(time.DateOnly, o.expires); err != nil {
			if end, err = time.Parse(time.RFC3339, o.expires); err != nil {
				return end, bad
			}
		}
	}
	if !end.After(now) || end.After(now.AddDate(1, 0, 0)) {
		return end, fmt.Errorf("--expires %s: it has to be in the future, and at most a year ahead", o.expires)
	}
	return end.UTC(), nil
}

// refusals returns what rules refuse in the verdicts of a file.
func refusals(name string, raw []byte) ([]verdict.Finding, error) {
	var out []verdict.Finding
	var collect func(d decided) int
	collect = func(d decided) (n int) {
		for _, item := range d.Items {
			n += collect(item)
		}
		if d.Verdict != nil {
			n += collect(*d.Verdict)
		}
		for _, f := range d.Findings {
			if f.Reason == verdict.PolicyDenied && f.Severity == verdict.Deny && f.Policy != "" && f.Object != "" {
				out = append(out, f)
			}
		}
		if d.Allowed != nil {
			n++
		}
		return n
	}
	verdicts := 0
	for d := json.NewDecoder(bytes.NewReader(raw)); ; {
		var v decided
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("%s holds something else than verdicts in JSON, near byte %d", name, d.InputOffset())
		}
		verdicts += collect(v)
	}
	if verdicts == 0 {
		return nil, fmt.Errorf("%s holds no verdict: gitgate check -o json writes one", name)
	}
	return out, nil
}

// An exceptionManifest is a PolicyException without what only a cluster fills in.
type exceptionManifest struct {
	APIVersion string                       `json:"apiVersion"`
	Kind       string                       `json:"kind"`
	Metadata   map[string]string            `json:"metadata"`
	Spec       v1alpha1.PolicyExceptionSpec `json:"spec"`
}

// exceptions makes one for each object.
func (o *exceptOptions) exceptions(found []verdict.Finding, end time.Time) ([]exceptionManifest, error) {
	var out []exceptionManifest
	at := map[string]int{}
	names := map[string]bool{}
	for _, f := range found {
		if len(o.objects) > 0 && !slices.Contains(o.objects, f.Object) || len(o.rules) > 0 && !slices.Contains(o.rules, f.Policy) {
			continue
		}
		i, known := at[f.Object]
		if !known {
			e, err := o.exception(f.Object, end)
			if err != nil {
				return nil, err
			}
			for base, n := e.Metadata["name"], 2; names[e.Metadata["name"]]; n++ {
				e.Metadata["name"] = fmt.Sprintf("%s-%d", base, n)
			}
			names[e.Metadata["name"]] = true
			i, at[f.Object] = len(out), len(out)
			out = append(out, e)
		}
		out[i].Spec.Policies = withRule(out[i].Spec.Policies, f.Policy)
	}
	if len(out) == 0 {
		return nil, errors.New("there is nothing to except: no rule refuses any object that was asked for, and nothing else can be excepted")
	}
	return out, nil
}

func withRule(policies []v1alpha1.ExceptedPolicy, policy string) []v1alpha1.ExceptedPolicy {
	set, rule, _ := strings.Cut(policy, "/")
	i := slices.IndexFunc(policies, func(p v1alpha1.ExceptedPolicy) bool { return p.PolicySet == set })
	if i < 0 {
		return append(policies, v1alpha1.ExceptedPolicy{PolicySet: set, Rules: []string{rule}})
	}
	if !slices.Contains(policies[i].Rules, rule) {
		policies[i].Rules = append(policies[i].Rules, rule)
	}
	return policies
}

// exception is one for an object, as findings name it, without rules.
func (o *exceptOptions) exception(object string, end time.Time) (exceptionManifest, error) {
	e := exceptionManifest{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PolicyException"}
	parts := strings.Split(object, "/")
	if len(parts) < 2 || len(parts) > 3 {
		return e, fmt.Errorf("%q is no object that could be excepted", report.Printable(object))
	}
	kind, group, _ := strings.Cut(parts[len(parts)-2], ".")
	name := parts[len(parts)-1]
	e.Metadata = map[string]string{"name": exceptionName(kind, name)}
	e.Spec.Match.Kinds = []v1alpha1.ExceptedKind{{APIGroup: group, Kind: kind}}
	e.Spec.Match.Names = []string{name}
	if len(parts) == 3 {
		e.Metadata["namespace"] = parts[0]
		e.Spec.Match.Namespaces = []string{parts[0]}
	}
	e.Spec.Owner, e.Spec.Reason, e.Spec.Expires.Time = o.owner, o.reason, end
	return e, nil
}

// exceptionName is a name for an exception of an object.
func exceptionName(kind, name string) string {
	text := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' {
			return c
		}
		return '-'
	}, strings.ToLower(kind+"-"+name))
	if text = strings.Trim(text[:min(len(text), validation.DNS1123LabelMaxLength-4)], "-"); text == "" {
		return "exception"
	}
	return text
}
