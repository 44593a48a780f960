// Command bench measures gitgate beside Flux and beside what nobody can beat, on
// one control plane and in one run, and prints ratios and counts of requests.
//
//	go run ./test/bench -gitgate bin/gitgate
//
// Times depend on the machine, so each is taken in pairs: gitgate, Flux and the
// floor take turns within a round, the order changes from round to round, and
// the ratio is the median over the rounds. Requests are counted by the API
// server: they are read from its audit log, by the user that each program
// authenticates as.
//
// # The peer
//
// The peer is Flux's kustomize-controller, unmodified, built from the module
// test/bench/flux. It does what is compared: it builds manifests, dry-runs,
// applies, prunes, and looks for drift. Flux's other half, source-controller, is
// not run: a module that it needs is not to be had from every module proxy. In
// its place bench publishes each revision as source-controller would, as an
// archive and in the status of a GitRepository, before the clock starts. So Flux
// is spared the clone, the check of signatures, the archive and all requests of
// its source-controller, and gitgate is spared nothing: the ratios are the lower
// bounds of what a full Flux would give.
//
// # The floors
//
// "Bare apply" is server-side apply of the same objects with nothing around it, and
// "bare dry run" the same as a dry run.
// "Bare build" is kustomize on files in memory.
package main
