package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/author"
	"gitgate.dev/gitgate/policy/report"
)

// policySources are the flags that name policies to work on.
type policySources struct {
	packs       []string
	regoVersion string
}

func (o *policySources) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.packs, "pack", nil, "`NAME` of a pack of the library: "+strings.Join(policies.Packs(), ", ")+"; may be repeated")
	f.StringVar(&o.regoVersion, "rego-version", string(policy.RegoV1), "dialect of the directories: v1 or v0")
	// These fail for flags that do not exist alone.
	_ = cmd.RegisterFlagCompletionFunc("pack", cobra.FixedCompletions(policies.Packs(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("rego-version", cobra.FixedCompletions([]string{"v1", "v0"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
}

// open opens the directories and packs; without any, the current directory. close
// lets go of them.
func (o *policySources) open(dirs []string) (sources []author.Source, closing func(), err error) {
	var closers []func()
	closeAll := func() {
		for _, c := range closers {
			c()
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	if o.regoVersion != string(policy.RegoV1) && o.regoVersion != string(policy.RegoV0) {
		return nil, nil, fmt.Errorf("--rego-version %s: use v1 or v0", o.regoVersion)
	}
	if len(dirs)+len(o.packs) == 0 {
		dirs = []string{"."}
	}
	for _, dir := range slices.Compact(slices.Sorted(slices.Values(dirs))) {
		source, close, err := openPolicies(dir)
		if err != nil {
			return nil, nil, err
		}
		closers = append(closers, close)
		source.RegoVersion = policy.RegoVersion(o.regoVersion)
		sources = append(sources, source)
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(o.packs))) {
		fsys, err := policies.Pack(name)
		if err != nil {
			return nil, nil, err
		}
		sources = append(sources, author.Source{FS: fsys})
	}
	return sources, closeAll, nil
}

// openPolicies opens the repository around a directory, for tests refer to what is
// beside it, and shows files from the current directory, as a shell does.
func openPolicies(dir string) (author.Source, func(), error) {
	if info, err := os.Stat(dir); err != nil {
		return author.Source{}, nil, err
	} else if !info.IsDir() {
		return author.Source{}, nil, fmt.Errorf("%s: not a directory", dir)
	}
	var o renderOptions
	tree, err := o.openDirectory(dir)
	if err != nil {
		return author.Source{}, nil, err
	}
	top, err := filepath.EvalSymlinks(dir)
	if err == nil {
		top, err = filepath.Abs(top)
	}
	if err != nil {
		tree.close()
		return author.Source{}, nil, err
	}
	for range strings.FieldsFunc(tree.path, func(r rune) bool { return r == '/' }) {
		if tree.path != "." {
			top = filepath.Dir(top)
		}
	}
	return author.Source{FS: tree.files, Root: tree.path, Show: showFrom(top, filepath.IsAbs(dir))}, tree.close, nil
}

// showFrom names files below a directory as seen from the current one, or by their
// whole path.
func showFrom(top string, absolute bool) func(string) string {
	here, err := os.Getwd()
	if err == nil {
		here, err = filepath.EvalSymlinks(here)
	}
	return func(file string) string {
		whole := filepath.Join(top, filepath.FromSlash(file))
		if rel, bad := filepath.Rel(here, whole); err == nil && bad == nil && !absolute {
			return filepath.ToSlash(rel)
		}
		return filepath.ToSlash(whole)
	}
}

// checkOutput wants a format that there is.
func checkOutput(format string, known []string) error {
	if !slices.Contains(known, format) {
		return fmt.Errorf("-o %s: use one of %s", format, strings.Join(known, ", "))
	}
	return nil
}

// printable is an error of reading policies and tests, whose names and texts are
// anybody's, without what would steer a terminal. Its lines stay lines.
func printable(err error) error {
	if err == nil {
		return nil
	}
	lines := strings.Split(err.Error(), "\n")
	for i, l := range lines {
		lines[i] = report.Printable(l)
	}
	return errors.New(strings.Join(lines, "\n"))
}

// errInterrupted ends a command that somebody ended.
var errInterrupted = &exitError{code: exitUndetermined, err: errors.New("interrupted")}
