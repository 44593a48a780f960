// Package lock decides whether a write may pass, by what verified commits say.
//
// An [Inventory] holds the releases that this replica has verified for itself.
// [Lock.Decide] judges one admission request against it: what is written, not
// who writes. A change of a managed object must lead to what Git says; a child
// of a controller must derive from its live owner; in the namespaces that a
// GitSync closes nothing else may come to be. The caller only selects which
// leaves and which kinds of children are open to it.
//
// The package knows no transport and makes no request. Deciding costs in
// proportion to the objects of the request, whatever the inventory holds. Every
// input is hostile; whatever cannot be decided is denied.
package lock
