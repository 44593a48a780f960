package apply

import "gitgate.dev/gitgate/policy/desired"

// A Drift is an object that is not what Git says.
type Drift struct {
	Owner Owner
	// Object is its name as gate.ObjectID has it.
	Object string
	// Missing means that the object was deleted.
	Missing bool
	// Changes leads from what Git says (Old) to what is there (New). Values of
	// Secrets are removed.
	Changes []desired.Change
}
