// Package webhook is the door that every write to the cluster goes through: an
// HTTPS server that answers the API server's admission reviews.
//
// [Server] turns a review into the question that a [Decider] answers, and its
// answer into what a client sees: a final denial is HTTP 403 with the reason and
// a message that says what to do, one that may pass later is 503 with
// retryAfterSeconds, which client-go waits for by itself. It bounds what a
// request may cost in bytes, time and number. Whatever goes wrong, a panic
// included, denies.
//
// Package registration tells the API server to ask us, package certs keeps what
// we are known by, package live keeps the owners that decisions need at hand,
// and package lock decides.
package webhook
