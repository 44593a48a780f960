package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"gitgate.dev/gitgate/policy/verdict"
)

// failure is a finding about the evaluation itself.
func failure(place verdict.Finding, reason verdict.Reason, message string) verdict.Finding {
	place.Reason, place.Severity, place.Message = reason, verdict.Deny, oneLine(message, 4<<10)
	if reason == verdict.PolicyTimeout { // it might be decided another time
		place.Severity = verdict.Undetermined
	}
	return place
}

// A collector turns the results of one set into findings.
type collector struct {
	run      *run
	set      *set
	findings []verdict.Finding
	dropped  int
	troubles int // findings about the evaluation itself
	overlong *entry
}

// harshest caps a severity at what the set may do.
func (s *set) harshest(sev verdict.Severity) verdict.Severity {
	switch {
	case s.enforcement == Deny:
		return sev
	case s.enforcement == Warn && sev != verdict.Info:
		return verdict.Warn
	}
	return verdict.Info
}

func (c *collector) policyName(e *entry) string { return c.set.policyName(e) }

// policyName names an entry, or with nil the set.
func (s *set) policyName(e *entry) string {
	if e == nil || s.constraint != nil {
		return s.id
	}
	return s.name + "/" + e.name
}

// add takes the value of an entry, which must be a set of strings and objects.
func (c *collector) add(e *entry, value *ast.Term) {
	results, ok := listed(c.set.format, value).Value.(ast.Set)
	if !ok {
		c.problem(e, verdict.PolicyError, fmt.Sprintf(
			"the rule is a %s and must be a set of messages: write `%s contains msg if { … }`", ast.ValueName(value.Value), ruleName(e)))
		return
	}
	if results.Len() == 0 {
		return
	}
	if results.Len() > c.run.engine.opts.MaxFindings*16 { // sorting them would cost more than reading them helps
		c.dropped += results.Len()
		return
	}
	for _, t := range results.Slice() {
		if len(c.findings) >= c.run.engine.opts.MaxFindings {
			c.dropped++
			continue
		}
		c.result(e, t)
	}
}

// addAndKeep adds the value of an entry, and remembers what it says if there was
// no trouble with it.
func (c *collector) addAndKeep(e *entry, value *ast.Term, key memoKey) {
	had, dropped, troubles := len(c.findings), c.dropped, c.troubles
	overlong := c.overlong
	c.overlong = nil
	c.add(e, value)
	if c.dropped == dropped && c.troubles == troubles && c.overlong == nil {
		c.run.engine.memo.put(key, c.findings[had:])
	}
	c.overlong = cmp.Or(c.overlong, overlong)
}

// repeat adds what an entry said of another object in which it reads the same.
func (c *collector) repeat(e *entry, known []said) {
	for _, s := range known {
		if len(c.findings) >= c.run.engine.opts.MaxFindings {
			c.dropped++
			continue
		}
		f := c.run.place
		f.Reason, f.Policy, f.Severity = verdict.PolicyDenied, c.policyName(e), s.severity
		f.Message, f.Field = s.message, s.field
		c.findings = append(c.findings, f)
	}
}

func ruleName(e *entry) string { return e.name[strings.LastIndexByte(e.name, '.')+1:] }

func (c *collector) result(e *entry, t *ast.Term) {
	f := c.run.place
	f.Reason, f.Policy, f.Severity = verdict.PolicyDenied, c.policyName(e), verdict.Deny
	if e.warns {
		f.Severity = verdict.Warn
	}
	f.Severity = c.set.harshest(f.Severity)
	msg := ""
	switch v := t.Value.(type) {
	case ast.String:
		if msg = string(v); c.set.constraint != nil {
			c.problem(e, verdict.PolicyError, "a result is a string and must be an object with a msg")
			return
		}
	case ast.Object:
		var err error
		if msg, f.Field, err = readResult(v, c.set.constraint == nil); err != nil {
			c.problem(e, verdict.PolicyError, err.Error())
			return
		}
	default:
		c.problem(e, verdict.PolicyError, fmt.Sprintf(
			"a result is a %s and must be a string or an object with a msg", ast.ValueName(t.Value)))
		return
	}
	msg = cmp.Or(oneLine(msg, 0), oneLine(e.fallback, 0))
	if msg == "" {
		c.problem(e, verdict.PolicyError, "a result has no msg: add one, or a title in the METADATA of the rule")
		return
	}
	limit := c.run.engine.opts.MaxMessageBytes
	if len(msg) > limit || len(f.Field) > limit {
		c.overlong = e
	}
	f.Message, f.Field = clip(msg, limit), clip(oneLine(f.Field, 0), limit)
	c.findings = append(c.findings, f)
}

// readResult reads msg, and with fields the field, of an object; other members are the author's.
func readResult(o ast.Object, fields bool) (msg, field string, err error) {
	if err := stringMember(o, "msg", &msg); err != nil {
		return "", "", fmt.Errorf("in a result, %w", err)
	}
	if !fields {
		return msg, "", nil
	}
	if err := stringMember(o, "field", &field); err != nil {
		return "", "", fmt.Errorf("in a result, %w", err)
	}
	return msg, field, nil
}

func (c *collector) undefined(e *entry) {
	if e.partial {
		return
	}
	c.problem(e, verdict.PolicyUndefined, fmt.Sprintf(
		"the rule has no value for this object: write `%s contains msg if { … }`, which is an empty set when nothing is wrong", ruleName(e)))
}

// unknown records that an entry came to read what the caller does not know. It may
// be known another time, or elsewhere. A rule that only warns only warns.
func (c *collector) unknown(e *entry, parts Part) {
	message := fmt.Sprintf("the rule reads %s, which is not known here", parts.names(c.set.format))
	if c.set.format == FormatGitgate {
		message += ": where the rule can do without, let it ask input.known first"
	}
	c.unknownPart(e, message)
}

func (c *collector) unknownPart(e *entry, message string) {
	c.problem(e, verdict.PolicyUndefined, message)
	f := &c.findings[len(c.findings)-1]
	if f.Severity = verdict.Undetermined; e != nil && e.warns {
		f.Severity = verdict.Warn
	}
	f.Severity = c.set.harshest(f.Severity)
}

// fail records that an entry, or with nil the whole set, could not be evaluated.
func (c *collector) fail(e *entry, err error) {
	var at string
	var te *topdown.Error
	if errors.As(err, &te) && te.Location != nil {
		at = fmt.Sprintf("%s:%d: ", te.Location.File, te.Location.Row)
	}
	switch {
	case te != nil && te.Code == budgetErrorCode:
		c.problem(e, verdict.PolicyTimeout, at+te.Message)
	case topdown.IsCancel(err) || c.run.ctx.Err() != nil:
		message := fmt.Sprintf("the policies of this object took longer than %s: simplify the rules of this set", c.run.timeout)
		if errors.Is(c.run.ctx.Err(), context.Canceled) {
			message = "the evaluation was cancelled"
		}
		c.problem(e, verdict.PolicyTimeout, message)
	case te != nil:
		c.problem(e, verdict.PolicyError, at+te.Message)
	default:
		c.problem(e, verdict.PolicyError, err.Error())
	}
}

func overBudget(err error) bool {
	var te *topdown.Error
	return topdown.IsCancel(err) || errors.As(err, &te) && te.Code == budgetErrorCode
}

func (c *collector) problem(e *entry, reason verdict.Reason, message string) {
	f := failure(c.run.place, reason, message)
	f.Policy = c.policyName(e)
	f.Severity = c.set.harshest(f.Severity)
	c.findings = append(c.findings, f)
	c.troubles++
}

// finish sorts the findings and says what was left out.
func (c *collector) finish() []verdict.Finding {
	if c.dropped > 0 {
		c.problem(nil, verdict.LimitExceeded, fmt.Sprintf(
			"%d more results are not shown: the limit is %d for one object", c.dropped, c.run.engine.opts.MaxFindings))
	}
	if c.overlong != nil {
		c.problem(c.overlong, verdict.LimitExceeded, fmt.Sprintf(
			"a message is longer than %d bytes and was cut", c.run.engine.opts.MaxMessageBytes))
	}
	verdict.Sort(c.findings)
	return slices.CompactFunc(c.findings, func(a, b verdict.Finding) bool { return a == b })
}

// oneLine replaces whatever could move a terminal's cursor or break a line. A
// limit of 0 is none.
func oneLine(s string, limit int) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s))
	if limit > 0 {
		s = clip(s, limit)
	}
	return s
}

// panicPlace finds the first frame below the panic, as file:line.
func panicPlace(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "panic(") && i+3 < len(lines) {
			place, _, _ := strings.Cut(strings.TrimSpace(lines[i+3]), " ")
			if j := strings.LastIndexByte(place, '/'); j >= 0 {
				place = place[j+1:]
			}
			return place
		}
	}
	return "an unknown place"
}
