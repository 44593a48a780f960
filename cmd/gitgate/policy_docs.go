package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policy/author"
)

// policyDocs holds the flags of `gitgate policy docs`.
type policyDocs struct {
	policySources
	output, into string
	check        bool
}

func newPolicyDocsCommand() *cobra.Command {
	var o policyDocs
	cmd := &cobra.Command{
		Use:   "docs [DIR]...",
		Short: "Write a catalogue of rules from their METADATA",
		Long: `Write what the rules of directories, of the current one by default, say of
themselves: title, description, custom.severity, custom.remediation, and
custom.references and related_resources. Rules that say nothing are listed with
empty cells; gitgate policy lint names them.

With --into the catalogue goes between the lines <!-- catalogue --> and
<!-- /catalogue --> of a Markdown file; with --check nothing is written, and it fails
if the file is not up to date.

Exit codes: 0 written or up to date, 1 not up to date, 2 wrong use.`,
		Example: `  # a table for each package
  gitgate policy docs rules/ > RULES.md

  # keep it in the README, and see to it in CI
  gitgate policy docs rules/ --into README.md
  gitgate policy docs rules/ --into README.md --check`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.execute(args, cmd.OutOrStdout()) },
	}
	o.policySources.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "markdown", "markdown or json")
	f.StringVar(&o.into, "into", "", "Markdown `FILE` to put the catalogue into")
	f.BoolVar(&o.check, "check", false, "with --into: fail if the file is not up to date")
	// These fail for flags that do not exist alone.
	_ = cmd.MarkFlagFilename("into", "md")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"markdown", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *policyDocs) execute(dirs []string, stdout io.Writer) error {
	if err := checkOutput(o.output, []string{"markdown", "json"}); err != nil {
		return err
	}
	switch {
	case o.check && o.into == "":
		return fmt.Errorf("--check: name the file with --into")
	case o.into != "" && o.output != "markdown":
		return fmt.Errorf("--into: the catalogue is Markdown there")
	}
	sources, closing, err := o.open(dirs)
	if err != nil {
		return err
	}
	defer closing()
	var docs []author.RuleDoc
	for _, s := range sources {
		more, err := s.Catalogue()
		if err != nil {
			return printable(err)
		}
		docs = append(docs, more...)
	}
	if len(docs) == 0 {
		return fmt.Errorf("no rule named deny, violation or warn was found: there is nothing to list")
	}
	switch {
	case o.into != "":
		return o.write(docs)
	case o.output == "json":
		return author.WriteJSON(stdout, docs)
	}
	return author.WriteCatalogue(stdout, docs)
}

// write puts the catalogue into the file, or compares.
func (o *policyDocs) write(docs []author.RuleDoc) error {
	raw, err := readBounded(o.into, author.MaxFileBytes)
	if err != nil {
		return err
	}
	text, err := author.InsertCatalogue(string(raw), docs)
	if err != nil {
		return fmt.Errorf("%s: %w", o.into, err)
	}
	switch {
	case text == string(raw):
		return nil
	case o.check:
		return &exitError{code: exitDenied, err: fmt.Errorf("%s: the catalogue is not what the rules say: run gitgate policy docs with --into and without --check", o.into)}
	}
	info, err := os.Stat(o.into)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(o.into), ".gitgate-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // gone already if all went well
	_, err = temp.WriteString(text)
	if err == nil {
		err = temp.Chmod(info.Mode().Perm())
	}
	if closing := temp.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	return os.Rename(temp.Name(), o.into)
}
