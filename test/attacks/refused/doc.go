// Package refused attacks a lock whose revision does not pass any more: a rule came, a
// signer went, an exception ended. Replicas of the webhook that start after that must
// hold what was applied, believe no status, and stop no controller.
//
// No namespace is closed, so that nothing but the lock of the objects refuses.
package refused
