// Package gate decides whether a Git revision may reach a cluster.
//
// [Gate.Admit] runs every stage in order: commit, render, image, policy, secret
// and apply (a dry run). It returns no error: failing to decide is a denial. What
// it lets pass is a [Release], which nothing else can mint and which is the only
// thing that can be applied.
//
// Each stage is a small interface that the caller wires. gate itself never talks
// to Git, a registry, a key or the Kubernetes API.
package gate
