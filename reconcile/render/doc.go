// Package render turns a tree of files into the objects that it declares.
//
// [Render] reads plain YAML and JSON trees and kustomizations from an [io/fs.FS].
// It never leaves that tree: no network, no process, no environment, no symbolic
// link, no file outside of the repository. Whatever a kustomization would take
// from elsewhere is refused before kustomize runs, and kustomize then sees only a
// copy in memory of the files that were found to be used.
//
// Most kustomizations are built in parts of objects that have nothing to do with
// each other, and only the parts that changed. What is not known to give the same
// result that way is built at once; see the type division.
//
// YAML is read strictly: what two readers could understand differently is
// refused, and what is accepted has the value that sigs.k8s.io/yaml, and so
// kubectl, gives it. Every object knows the file and line that it comes from.
//
// All problems are reported as findings, never as a panic or as a partial result:
// objects are returned only when nothing that was found blocks.
package render
