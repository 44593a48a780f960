// Package certs keeps the certificates of the admission server: what it serves,
// and what the API server is told to trust.
//
// [Managed] runs a certificate authority of its own in a Secret that all
// replicas share. Serving certificates live for a day; before a new authority
// signs anything it is trusted beside the old one for a while, so that nobody
// is ever shown a certificate that he cannot verify yet. [Files] serves what
// somebody else, cert-manager for one, keeps in files. Both reload while
// connections go on: a handshake takes what is newest.
package certs

import (
	"context"
	"crypto/tls"
)

// A Source is where a server gets its certificate from.
type Source interface {
	// Certificate is what to serve now; nil while there is none. It must not be
	// changed.
	Certificate() *tls.Certificate
	// Bundle is what clients must trust, in PEM; nil while it is not known.
	Bundle() []byte
	// Start keeps both up to date until ctx is done.
	Start(ctx context.Context) error
}
