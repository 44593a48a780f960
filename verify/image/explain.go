package image

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// registryError turns a failure to read the registry into an answer. It picks
// what may be told by type: texts of HTTP errors hold addresses with signed
// queries, and texts of token services may hold tokens.
func (v *Verifier) registryError(ctx context.Context, r reference, what string, err error) *Error {
	if what == "" {
		what = r.name()
	} else {
		what += r.name() + "@" + r.digest
	}
	var limit *limitError
	if errors.As(err, &limit) {
		return &Error{Reason: RegistryLimit, Image: r.original,
			Message: fmt.Sprintf("cannot read %s: %v", what, limit)}
	}
	return &Error{Reason: RegistryUnavailable, Image: r.original, Undetermined: true,
		Message: fmt.Sprintf("cannot read %s: %s", what, v.cause(ctx, r, err))}
}

func (v *Verifier) cause(ctx context.Context, r reference, err error) string {
	var refused *refusedError
	var status *statusError
	var handshake *transport.Error
	switch {
	case errors.As(err, &refused) && !refused.plain:
		return refused.what
	case errors.Is(err, errNotFound):
		return fmt.Sprintf("the registry has no tag %s there: push the image or correct the name", quote(r.tag))
	case errors.Is(err, errMalformed):
		return err.Error()
	case errors.As(err, &status):
		return explainStatus(status.status)
	case errors.As(err, &handshake):
		return explainStatus(handshake.StatusCode)
	case errors.Is(context.Cause(ctx), context.Canceled):
		return "the run ended"
	case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("the registry did not answer within %s", v.limits.Timeout)
	}
	if cause := explainNetwork(err); cause != "" {
		return cause
	}
	if refused != nil {
		return refused.what
	}
	return "the network or the registry failed"
}

func explainStatus(status int) string {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Sprintf("the registry denies access (status %d): check the credentials", status)
	case http.StatusTooManyRequests:
		return "the registry limits our rate (status 429): try again later"
	}
	return fmt.Sprintf("the registry answers with status %d", status)
}

// explainNetwork is empty for what it does not know.
func explainNetwork(err error) string {
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &dns):
		return "its host name cannot be resolved"
	case errors.As(err, &unknown):
		return "its certificate is of an unknown authority: add it to the CA"
	case errors.As(err, &certificate):
		return "its certificate is not valid"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection is refused"
	case strings.Contains(err.Error(), "invalid realm in www-authenticate"):
		// go-containerregistry has no type for it.
		return "its token service is at an address that is refused: a private address, or plain HTTP"
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET):
		return "the connection was cut"
	}
	return ""
}
