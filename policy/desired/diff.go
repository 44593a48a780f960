package desired

// A Change is one difference between two objects.
type Change struct {
	// Path is where, as in spec.template.spec.containers[name=app].image.
	Path string
	// Old and New are the values; nil is absent. They are shared with the
	// objects compared: do not change them.
	Old, New any
}
