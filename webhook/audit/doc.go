// Package audit looks at what is in closed namespaces already: admission judges what
// is written, and never sees what was put into etcd past the API server, or was there
// before the namespace was closed.
//
// An [Auditor] watches every kind that can be watched, in the namespaces that
// GitSyncs close, and asks the lock of each object whether it is there by Git's leave.
// One that is not is a stray. Strays are reported and never deleted: who judges must
// not be able to write, and an error of judgement must not take a workload away.
//
// Of objects no more than names are kept. In a steady state nothing is asked of the
// API server.
package audit
