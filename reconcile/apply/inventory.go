package apply

// An Entry names one object of an [Inventory], in the form of Flux.
type Entry struct {
	// ID is namespace_name_group_kind.
	ID string `json:"id"`
	// V is the API version of the kind.
	V string `json:"v"`
}

// An Inventory lists the objects of an owner, sorted by ID.
type Inventory []Entry

type prepared struct{}
