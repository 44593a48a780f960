// Command admission measures how fast gitgate answers admission reviews, beside
// Gatekeeper and beside what nobody can beat, in one run, and prints ratios.
//
//	go run ./test/bench/admission -gitgate bin/gitgate
//
// The servers answer over TLS, each pinned to the same core with nobody else of
// ours on it; the load, the API server and everything else keep to the others.
// Requests are those of kube-apiserver: HTTP/1.1 on connections that stay open.
// Servers take turns within a round, in an order that changes from round to
// round, on the very same reviews, and a ratio is the median over the rounds of
// the ratio within a round.
//
// # The reviews
//
// They are AdmissionReviews of Pods and Deployments of about 10 kB, half of
// each, with defaults, owners and managed fields as an API server sends them. No
// review is ever sent twice to the same server. With "every request new" each
// has a pod template of its own, its names, images, variables and limits
// included. In the mix four of five have a template that was there before, under
// another name; a Pod has its own name for the volume of its token too, as Pods
// do. About one template in eight breaks a rule or two.
//
// # The peer
//
// Gatekeeper is unmodified, built from the module test/bench/admission/gatekeeper,
// and run with the flags of its own manifest, except that it is given a
// certificate. Its ten ConstraintTemplates hold the text of the ten rules that
// gitgate gets; only input.object is called input.review.object. Answers are
// compared: both must deny the same reviews for the same reasons, or there is no
// table.
//
// A second scenario has ten ConstraintTemplates that Gatekeeper's module ships, read
// from there, at both: gitgate has the very files in a PolicySet of the format
// Gatekeeper. Its reviews are Pods.
//
// # The floors
//
// "Bare query" is a TLS handler that decodes only what the rules read into Go
// structures, and evaluates all rules as one prepared query of OPA. "Bare
// envelope" decodes no object and allows everything.
package main
