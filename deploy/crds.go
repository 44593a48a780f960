// Package deploy holds what installs gitgate. The program has the definitions of
// its own kinds from here, to hold configuration files to what a cluster would
// accept.
package deploy

import "embed"

// CRDs are the CustomResourceDefinitions, one YAML file each, under crds.
//
//go:embed crds/gitgate.dev_*.yaml
var CRDs embed.FS
