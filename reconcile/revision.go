package reconcile

import (
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Revision names a commit of a branch as status and findings do, as in
// main@sha1:<hex>.
func Revision(branch string, h plumbing.Hash) string { return branch + "@sha1:" + h.String() }

// RevisionHash returns the commit that a revision names, and the zero hash for a
// text that is none.
func RevisionHash(revision string) plumbing.Hash {
	_, hex, _ := strings.Cut(revision, "@sha1:")
	if !plumbing.IsHash(hex) {
		return plumbing.ZeroHash
	}
	return plumbing.NewHash(hex)
}
