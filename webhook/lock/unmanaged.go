package lock

// unmanaged judges a request about an object that Git does not declare.
func (r *review) unmanaged() ruling {
	return r.open()
}
