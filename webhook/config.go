package webhook

import (
	"cmp"
	"context"
	"errors"
	"net"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/webhook/certs"
	"gitgate.dev/gitgate/webhook/lock"
)

// Path is where admission reviews are answered; there is no other.
const Path = "/admit"

// The limits where [Limits] says nothing.
const (
	// DefaultBody is room for two objects of 3 MiB, the largest that the API
	// server takes, and their envelope.
	DefaultBody = 7 << 20
	// DefaultTimeout leaves the API server, which waits for 5 s, time to hear.
	DefaultTimeout  = 3 * time.Second
	DefaultInFlight = 256
	DefaultWaiting  = 2048
	DefaultMemory   = 256 << 20
)

// A Decider judges an admission request. It must bear concurrent calls, and may
// panic: that denies.
type Decider interface {
	Decide(ctx context.Context, req *admissionv1.AdmissionRequest) lock.Answer
}

// Limits bound what requests may cost. Zero values mean the defaults.
type Limits struct {
	// Body is the size of a review in bytes.
	Body int64
	// Timeout is how long one decision may take before it is answered as pending.
	Timeout time.Duration
	// InFlight is how many decisions are made at once, and Waiting how many more
	// may wait for their turn, as long as their own timeouts allow.
	InFlight, Waiting int
	// Memory is how many bytes of reviews may be held at once.
	Memory int64
}

func (l Limits) complete() Limits {
	l.Body = cmp.Or(l.Body, DefaultBody)
	l.Timeout = cmp.Or(l.Timeout, DefaultTimeout)
	l.InFlight = cmp.Or(l.InFlight, DefaultInFlight)
	l.Waiting = cmp.Or(l.Waiting, DefaultWaiting)
	l.Memory = max(cmp.Or(l.Memory, DefaultMemory), l.Body)
	return l
}

// A Config configures a [Server]. Decider and Certificates are required, and
// Address or Listener.
type Config struct {
	// Address to listen on, as in :9443. Listener, if not nil, goes first; Start
	// closes it.
	Address  string
	Listener net.Listener
	// Certificates is what to serve. The server starts it.
	Certificates certs.Source
	Decider      Decider
	// Ready reports whether decisions can be made, for the readiness probe; nil
	// means always. While it says no, requests are still put to the Decider.
	Ready func() bool
	// ClientCA is a PEM file with the authority that signs the client certificate
	// of the API server. Empty means that anybody may ask; denials of Secrets then
	// tell no detail. The file is read again as it changes.
	ClientCA string
	// ClientNames are the names of the API server, one of which must be the common
	// name or a DNS name of the certificate. Required with ClientCA: an authority
	// usually signs more than one client.
	ClientNames []string
	Limits      Limits
	// Drain is how long to go on serving after Start was told to stop, so that the
	// API server hears of it first.
	Drain time.Duration

	// Metrics, Decisions and Events may be nil.
	Metrics   *Metrics
	Decisions *DecisionLog
	Events    *Events
	// LogAllowed writes plain allows into the decision log as well, beside denials,
	// pending answers, warnings and used grants.
	LogAllowed bool
	// Objects returns what may be written into the decision log of the objects of a
	// request that rules judged, as JSON without secret values; nil where there is
	// nothing to write. A nil Objects writes none.
	Objects func(*admissionv1.AdmissionRequest) (object, oldObject []byte)
}

var (
	errDecider = errors.New("webhook: no decider")
	errCerts   = errors.New("webhook: no certificates")
	errAddress = errors.New("webhook: no address to listen on")
	errNames   = errors.New("webhook: a client CA without client names would trust whomever that CA ever signed")
	errNoCA    = errors.New("webhook: client names without a client CA prove nothing")
)

func (c Config) check() error {
	switch {
	case c.Decider == nil:
		return errDecider
	case c.Certificates == nil:
		return errCerts
	case c.Address == "" && c.Listener == nil:
		return errAddress
	case c.ClientCA != "" && len(c.ClientNames) == 0:
		return errNames
	case c.ClientCA == "" && len(c.ClientNames) != 0:
		return errNoCA
	}
	return nil
}
