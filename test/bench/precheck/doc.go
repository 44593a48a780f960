// Command precheck measures gitgate before the merge beside conftest, beside gator
// of Gatekeeper, and beside what nobody can beat: whole processes, in one run, as
// ratios.
//
//	go run ./test/bench/precheck -gitgate bin/gitgate
//
// Programs take turns within a round, in an order that changes from round to round,
// and a ratio is the median over the rounds of the ratio within a round. A run is
// from fork to exit: the clock, the processor time and the peak of the resident
// memory are those that wait4(2) gives.
//
// # The manifests
//
// They are those of Kubernetes' own repository, below cluster and
// test/e2e/testing-manifests, at the version of the test control plane: all
// documents that are whole objects and valid by the schemas of Kubernetes. Left out
// are templates, Secrets in plain text and CustomResourceDefinitions, which under
// another name would be another API. They are copied in turn, each under a name of
// its own, ten to a file and ten files to a directory. Images get a digest, so that
// gitgate need ask no registry. conftest is given the files; gitgate is given a Git
// repository of the same files, in one pack as a clone has them, in which every
// commit is signed with SSH.
//
// # The rules
//
// They are forty, written for conftest, and gitgate takes the same files in the format
// Conftest. All are called deny, which is what conftest is fastest with, for it asks
// once for every name. For gator each is a ConstraintTemplate with a constraint for the
// kinds that the rule names, as its users have them; input. is called
// input.review.object. there, and deny is violation. gitgate takes the same files in
// the format Gatekeeper. A second comparison has all rules in one template, which is
// what gator is fastest with. What is denied is compared: when programs do not deny the
// same objects in the same words there is no table.
//
// # What is compared
//
// conftest and gator evaluate rules. gitgate check verifies signatures, renders, holds objects
// to the schemas of Kubernetes, looks for images and secrets, and evaluates the same
// rules.
//
// # The floors
//
// "Bare query" reads and parses every file and evaluates one prepared query of OPA,
// on all processors. "Bare hash" only hashes every file.
package main
