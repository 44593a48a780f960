// Package measure is what the benchmarks have in common: programs that they run
// and ask the kernel about, peers that they build, series of figures, and tables
// in Markdown.
package measure
