package image

import (
	"context"
	"sync"
)

// A Session decides about the images of one run, so that the run sees one
// registry: each tag is looked up once, each image is verified once, however
// often and however spelt it is asked for. Drop it when the run ends. It is
// safe for concurrent use.
type Session struct {
	verifier *Verifier

	mu    sync.Mutex
	calls map[string]*call
}

// A found is what is known about an image apart from its spelling.
type found struct {
	digest string
	known
}

type call struct {
	done chan struct{}
	found
	err *Error
}

// NewSession starts a run.
func (v *Verifier) NewSession() *Session {
	return &Session{verifier: v, calls: make(map[string]*call)}
}

// Verify decides about one image. Its error is always an [*Error].
func (s *Session) Verify(ctx context.Context, ref string) (Evidence, error) {
	r, err := parseReference(ref)
	if err != nil {
		return Evidence{}, &Error{Reason: ImageNotAllowed, Image: ref, Message: "not an image reference: " + err.Error()}
	}
	demands, refusal := s.verifier.demands(r)
	if refusal != nil {
		return Evidence{}, refusal
	}
	f, failure := s.once(ctx, r, demands)
	if failure != nil {
		e := *failure
		e.Image = ref
		return Evidence{}, &e
	}
	return Evidence{ref: r, digest: f.digest, grants: f.grants, attested: f.attested}, nil
}

// once lets the first caller for an image do the work and the others wait.
func (s *Session) once(ctx context.Context, r reference, demands []demand) (found, *Error) {
	s.mu.Lock()
	c, running := s.calls[r.key()]
	if !running {
		c = &call{done: make(chan struct{})}
		s.calls[r.key()] = c
	}
	s.mu.Unlock()
	if running {
		select {
		case <-c.done:
			return c.found, c.err
		case <-ctx.Done():
			return found{}, cancelled(r)
		}
	}
	c.found, c.err = s.work(ctx, r, demands)
	if ctx.Err() != nil && c.err != nil {
		// This caller gave up; that says nothing about the image.
		s.mu.Lock()
		delete(s.calls, r.key())
		s.mu.Unlock()
	}
	close(c.done)
	return c.found, c.err
}

// work judges within the bound on parallel images; a panic is no verdict.
func (s *Session) work(ctx context.Context, r reference, demands []demand) (f found, failure *Error) {
	defer func() {
		if recover() != nil {
			f, failure = found{}, &Error{Reason: RegistryUnavailable, Image: r.original, Undetermined: true,
				Message: "internal error while verifying the image: this is a bug in gitgate; nothing was allowed"}
		}
	}()
	select {
	case s.verifier.slots <- struct{}{}:
		defer func() { <-s.verifier.slots }()
	case <-ctx.Done():
		return found{}, cancelled(r)
	}
	return s.verifier.judge(ctx, r, demands)
}

func cancelled(r reference) *Error {
	return &Error{Reason: RegistryUnavailable, Image: r.original, Undetermined: true,
		Message: "the run ended before the image was verified"}
}

// A Result is the answer to one reference of [Session.VerifyAll]: evidence, or
// an error.
type Result struct {
	Evidence Evidence
	Err      *Error
}

// VerifyAll decides about many images at once, within [Limits.Parallel]. The
// results stand in the order of the references.
func (s *Session) VerifyAll(ctx context.Context, refs []string) []Result {
	results := make([]Result, len(refs))
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(len(refs), s.verifier.limits.Parallel) {
		wg.Go(func() {
			for i := range next {
				evidence, err := s.Verify(ctx, refs[i])
				results[i].Evidence = evidence
				if err != nil {
					results[i].Err = err.(*Error) // Verify has no other
				}
			}
		})
	}
	for i := range refs {
		next <- i
	}
	close(next)
	wg.Wait()
	return results
}
