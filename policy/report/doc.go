// Package report writes verdicts for people and for machines: a terminal, a pull
// request's comment, the annotations of forges and the files that other tools
// read.
//
// [Write] knows the formats of [Formats]. All of them say the same: what was
// found, worst first, and whether it may pass. A report without a verdict is
// undetermined, as nothing was judged.
//
// Everything in a report is hostile: names, paths and messages come from a
// repository that may be a stranger's pull request, and the output goes to
// terminals and to CI systems that take orders from it. Nothing of a report can
// move a cursor, reorder text, start a command of a CI system, mention a person,
// or leave the place that a format gives it. What is written is bounded however
// many findings there are, except by json, which leaves out nothing.
//
// [Explain] tells of each reason what it means, why it exists and how to fix it.
//
// report depends on the standard library and on policy/verdict alone.
package report
