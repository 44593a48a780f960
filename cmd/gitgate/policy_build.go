package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/bundle"
	"gitgate.dev/gitgate/policy/report"
)

// policyDialect are the flags that say how the files of a bundle are to be read.
type policyDialect struct{ format, regoVersion string }

func (o *policyDialect) flags(cmd *cobra.Command, silent string) {
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "", "input and rule names that the files expect: Gitgate, Conftest or Gatekeeper; "+silent)
	f.StringVar(&o.regoVersion, "rego-version", "", "dialect of the modules, v1 or v0; "+silent)
	// These fail for flags that do not exist alone.
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{string(policy.FormatGitgate), string(policy.FormatConftest), string(policy.FormatGatekeeper)}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("rego-version", cobra.FixedCompletions([]string{"v1", "v0"}, cobra.ShellCompDirectiveNoFileComp))
}

func (o *policyDialect) dialect() bundle.Dialect {
	return bundle.Dialect{Format: policy.Format(o.format), RegoVersion: policy.RegoVersion(o.regoVersion)}
}

// policyBuild holds the flags of `gitgate policy build`.
type policyBuild struct {
	policyDialect
	output, revision string
	tests            bool
}

// defaultBundle is where a bundle is written to, as by opa build.
const defaultBundle = "bundle.tar.gz"

func newPolicyBuildCommand() *cobra.Command {
	var o policyBuild
	cmd := &cobra.Command{
		Use:   "build [DIR]",
		Short: "Build a bundle of policies",
		Long: `Build an OPA bundle of the policies in a directory, the current one by default: its
modules, its data, or its templates and constraints, and a manifest that says what they
were written for. Tests, hidden files and what no rule reads are left out.

The policies are compiled first, as the cluster would: what does not load is not built.
The same files give the same bytes, so that a bundle can be built again from its commit
and compared by its digest.

A file .manifest in the directory may say the roots and, where no flag does, the
revision, the format and the version of Rego.

Exit codes: 0 built, 2 wrong use or policies that do not load.`,
		Example: `  # what is in a directory, at this commit
  gitgate policy build rules/ --revision $(git rev-parse HEAD)

  # rules of conftest, templates of Gatekeeper
  gitgate policy build policy/ --format Conftest -o conftest.tar.gz
  gitgate policy build gatekeeper/ --format Gatekeeper -o gatekeeper.tar.gz`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			return o.run(cmd.Context(), dir, cmd.OutOrStdout())
		},
	}
	o.policyDialect.flags(cmd, "default: what .manifest says, or Gitgate in v1")
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", defaultBundle, "`FILE` to write, - for standard output")
	f.StringVarP(&o.revision, "revision", "r", "", "`TEXT` that names this version, such as a commit")
	f.BoolVar(&o.tests, "tests", false, "keep *_test.rego, which never judge")
	_ = cmd.MarkFlagFilename("output", "tar.gz") // fails for flags that do not exist alone
	return cmd
}

func (o *policyBuild) run(ctx context.Context, dir string, stdout io.Writer) error {
	root, err := os.OpenRoot(dir) // no link leads out of it
	if err != nil {
		return err
	}
	defer root.Close()
	raw, built, err := bundle.Build(ctx, root.FS(), bundle.Options{
		Dialect: o.dialect(), Revision: o.revision, Tests: o.tests, Load: policyOptions,
	})
	if err != nil {
		return printable(err)
	}
	if o.output == "-" {
		_, err := stdout.Write(raw)
		return err
	}
	if err := writeWhole(o.output, raw); err != nil {
		return err
	}
	m := built.Manifest()
	_, err = fmt.Fprintf(stdout, "%s: %s, %d files\n", report.Printable(o.output), describeManifest(m), len(built.Files())-1)
	return err
}

func describeManifest(m bundle.Manifest) string {
	text := string(m.Format)
	if text == "" {
		text = "OPA"
	}
	if m.RegoVersion != "" {
		text += " in Rego " + string(m.RegoVersion)
	}
	if m.Revision != "" {
		text += ", revision " + report.Printable(m.Revision)
	}
	return text
}

// writeWhole writes a file so that there is all of it or nothing.
func writeWhole(name string, raw []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
