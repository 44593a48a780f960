// Package reconcile drives each GitSync to its release: it fetches, has the gate
// judge, applies what passes, corrects drift, and tells in the status what it saw.
//
// Nothing in a status is trusted: what was applied last is remembered beside the
// clone, and all else is derived from Git again after a restart.
package reconcile
