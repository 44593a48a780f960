package image

// Parse reads an image reference as the kubelet does and returns the normalised
// repository, registry and path, and the digest, empty if it names none. Spellings
// of one image give one repository. It asks nobody and proves nothing.
func Parse(ref string) (repository, digest string, err error) {
	r, err := parseReference(ref)
	if err != nil {
		return "", "", err
	}
	return r.name(), r.digest, nil
}
