package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"

	"gitgate.dev/gitgate/policy/report"
)

// An outputSink is one -o: a format and where it goes.
type outputSink struct {
	format string
	file   string   // empty is standard output
	temp   *os.File // takes the place of file once it is complete
}

type outputSinks struct {
	sinks  []outputSink
	stdout io.Writer
}

// openOutputs prepares the outputs, so that one that cannot be written fails before
// anything is judged. No file is touched before the report is complete.
func openOutputs(specs []string, stdout io.Writer) (_ *outputSinks, err error) {
	o := &outputSinks{stdout: stdout}
	defer func() {
		if err != nil {
			o.discard()
		}
	}()
	files := map[string]bool{}
	for _, spec := range specs {
		var s outputSink
		s.format, s.file, _ = strings.Cut(spec, "=")
		if !slices.Contains(report.Formats(), s.format) {
			return nil, fmt.Errorf("-o %s: there is no format %q; use %s", spec, s.format, strings.Join(report.Formats(), ", "))
		}
		if files[s.file] {
			return nil, fmt.Errorf("-o %s: two outputs cannot go to one place: give one of them a file, as in -o %s=FILE", spec, s.format)
		}
		files[s.file] = true
		if s.file != "" {
			if info, err := os.Stat(s.file); err == nil && info.IsDir() {
				return nil, fmt.Errorf("-o %s: %s is a directory", spec, s.file)
			}
			if s.temp, err = os.CreateTemp(filepath.Dir(s.file), ".gitgate-*"); err != nil {
				return nil, fmt.Errorf("-o %s: %w", spec, err)
			}
		}
		o.sinks = append(o.sinks, s)
	}
	return o, nil
}

// discard removes what was not written to its end.
func (o *outputSinks) discard() {
	for i, s := range o.sinks {
		if s.temp != nil {
			_ = s.temp.Close() // it goes anyway
			_ = os.Remove(s.temp.Name())
			o.sinks[i].temp = nil
		}
	}
}

// write writes the report everywhere.
func (o *outputSinks) write(r report.Report) error {
	for i, s := range o.sinks {
		if s.temp == nil {
			if err := report.Write(o.stdout, s.format, r, terminalOptions(o.stdout)); err != nil {
				return &exitError{code: exitUndetermined, err: fmt.Errorf("-o %s: %w", s.format, err)}
			}
			continue
		}
		if err := s.complete(r); err != nil {
			return &exitError{code: exitUsage, err: fmt.Errorf("-o %s=%s: %w", s.format, s.file, err)}
		}
		o.sinks[i].temp = nil
	}
	return nil
}

func (s outputSink) complete(r report.Report) error {
	if err := report.Write(s.temp, s.format, r, report.Options{}); err != nil {
		return err
	}
	if err := s.temp.Chmod(0o644); err != nil {
		return err
	}
	if err := s.temp.Close(); err != nil {
		return err
	}
	return os.Rename(s.temp.Name(), s.file)
}

// terminalOptions are for a terminal if w is one, and plain otherwise.
func terminalOptions(w io.Writer) report.Options {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return report.Options{}
	}
	o := report.Options{Color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil {
		o.Width = width
	}
	return o
}
