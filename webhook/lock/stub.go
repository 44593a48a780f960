package lock

import "gitgate.dev/gitgate/policy/verdict"

func (r *review) identity() (ruling, bool) { return ruling{}, false }
func (r *review) system() (ruling, bool)   { return ruling{}, false }
func (r *review) managedSubresource(rec *record) ruling {
	return deny(MatchedManaged, nil, verdict.SubresourceDenied, "%s is not open to anybody", r.what())
}
