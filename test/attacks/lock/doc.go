// Package lock attacks the content lock as a whole: a control plane with its
// controllers and a node, gitgate serve, two replicas of gitgate webhook, and
// people who may do everything that RBAC knows of. Its tests are the K rows of
// the threat catalogue.
//
// Everything that Git locks is called harbor. A twin of it, called meadow, comes
// from Git too and is not locked: each attack must succeed there, or the test of
// it would prove nothing.
package lock
