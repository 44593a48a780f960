// Package breakglass opens the lock in an emergency, and closes it again.
//
// A grant ([gitgate.dev/gitgate/reconcile/api/v1alpha1.BreakGlass]) says who may
// do what, where and until when, at most four hours after its beginning. It
// counts when as many distinct people as a TrustPolicy asks for have signed it
// with their SSH keys. A [Book] holds the grants of a cluster and answers, from
// memory alone, whether one of them covers a request: no Git and no network.
//
// # What is signed
//
// [Payload] makes the bytes: a text of one line for each value, in a fixed order,
// that a person can read before signing it. Signatures are made for the
// namespace [Namespace], so nobody's commit can pass for one. What is signed
// names the cluster, so a grant is worth nothing in another.
//
// # Once, and never again
//
// The name of the object is made from what was signed, so the API server keeps
// two copies of one grant from existing. [Book.Review] refuses to delete a grant
// before its expiry and to take back a revocation; afterwards the signed expiry
// says no. A Book also remembers what it saw revoked or deleted, for as long as
// the process lives: all that is lost in a restart is the memory of a revoked
// grant whose object went away while the webhook did not judge deletions.
//
// # What no grant opens
//
// A grant never covers what makes gitgate gitgate: its kinds, its namespace, its
// RBAC, CustomResourceDefinitions and APIServices, nor webhook configurations
// and admission policies; and nothing that mints an identity: tokens of service
// accounts, token Secrets, certificates, and nodes/proxy, which reaches into every
// Pod of a node. GitSyncs alone it may open, in gitgate's namespace too, for so a
// lock is taken off when nothing else helps; whom they trust, TrustPolicies say. A
// grant to create Pods or to exec into them still hands out what the service
// accounts of those Pods may do; signers ought to know.
//
// # Who asks
//
// An AdmissionReview shows the user that the API server acts for. Whoever may
// impersonate a user of a grant can use it too, and only the API server's audit
// log tells the two apart.
package breakglass
