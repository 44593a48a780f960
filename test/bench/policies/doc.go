// Command policies measures what the policy engine of gitgate takes beside OPA itself,
// in one run, as ratios.
//
//	go run ./test/bench/policies
//
// It builds the tests of the policy library and runs BenchmarkPairs of it. There,
// whatever is compared takes turns in one process, every few milliseconds, forwards and
// backwards: a busy machine makes both slow. A figure of a round is the median of the
// turns; those of the table are the medians of the rounds.
//
// # One Deployment
//
// It is judged by all packs of the library, from its bytes to the findings, and passes
// every rule. "Nothing remembered" has neither the memory of what rules said before
// nor the pruning of the input to what they read. Beside it stands one prepared query
// of OPA, of only the rules that match the kind, on input that is parsed already. Rules
// for other kinds are sixty that cannot match a Deployment.
//
// # Loading
//
// 200 modules, or a few more, are those of the library over and over, each time in
// packages of their own. gitgate checks them, compiles them and prepares what it asks; OPA parses and
// compiles them, both strictly.
//
// What whole programs take stands in the table of test/bench/precheck, and ten
// templates of Gatekeeper at admission in that of test/bench/admission.
package main
