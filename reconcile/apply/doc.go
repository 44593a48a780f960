// Package apply turns an admitted release into cluster state and keeps it so.
//
// A [Plan] is what one GitSync wants. [Applier.DryRun] asks the API server
// about everything that it can judge before the first write, [Applier.Apply]
// writes in stages and prunes, [Applier.Wait] awaits health. While
// [Applier.Run] is running every object that was applied is watched; what is
// changed, added or deleted behind Git's back is reported as a [Drift], and
// [Applier.Correct] puts it right.
//
// # Exactness
//
// Server-side apply leaves alone what another manager added. So each object is
// held to D, the object that the API server itself makes of the manifest under
// a name that nobody has touched (see package policy/desired). What differs
// from D, and is neither open to a controller nor ignored by the plan, is
// written back or removed.
//
// # Cost
//
// An object whose manifest is unchanged and which is watched and found equal
// to D costs no request. Nothing is listed or written at rest.
//
// # Secrets
//
// Of Secrets nothing is kept but keyed digests. Messages of the API server
// about a Secret are withheld, for they may quote values.
package apply
