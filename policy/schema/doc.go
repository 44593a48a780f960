// Package schema validates objects offline, as the API server would before it asks
// anybody else: fields that do not exist, values of the wrong type, what is missing,
// items that bear one key.
//
// Built-in kinds are held to the OpenAPI schemas of the Kubernetes that this version
// of gitgate is tested against, which are embedded, and to what their Go types can
// hold. Custom resources are held to their CustomResourceDefinitions
// ([Validator.AddCRD]) by the libraries of the API server itself: defaults, pruning,
// bounds, patterns, formats, list types, embedded objects and CEL rules.
//
// The model is what a server says of an object that is new, in a server-side apply
// with strict field validation, for so the reconciler asks it. Unknown fields are
// always reported. In built-in kinds a null is no value; in custom resources it is
// one, unless the schema has a default in its place.
//
// What is not checked: the validation that Kubernetes has in Go (that a selector
// matches labels, that a port is below 65536, that a type is one of those there
// are), CEL rules that compare with the old object, admission, and whether a cluster
// turned a version on that is off by default. What this package finds the server
// refuses, but for integers too wide for their field, which it would cut; what this
// package passes the server may still refuse.
//
// The package makes no request and starts no program.
package schema
