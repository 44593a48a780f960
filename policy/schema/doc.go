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
// A null is no value, as for the API server. Unknown fields are always reported, as
// with strict field validation.
//
// What is not checked: the validation that Kubernetes has in Go (that a selector
// matches labels, that a port is below 65536, that an enumeration has the value),
// CEL rules that compare with the old object, admission, and whether a cluster
// serves a version that is off by default. What this package finds the server
// refuses; what it passes the server may still refuse.
//
// The package makes no request and starts no program.
package schema
