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
// The peer is Flux's source-controller and kustomize-controller, unmodified, built
// from the modules test/bench/fluxsource and test/bench/flux. Both read the same Git
// server as gitgate. They verify nothing and judge no policy; gitgate is spared nothing.
//
// # The floors
//
// "Bare apply" is server-side apply of the same objects with nothing around it, and
// "bare dry run" the same as a dry run.
// "Bare build" is kustomize on files in memory.
package main
