package gate

import (
	"context"
	"io/fs"
	"time"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/verify/commit"
	"gitgate.dev/gitgate/verify/image"
)

// A CommitVerifier proves who signed a tree. [commit.Verifier] is one. The tree
// is nil unless the report holds nothing that blocks.
type CommitVerifier interface {
	Verify(ctx context.Context, req commit.Request) (*commit.Tree, commit.Report)
}

// A Renderer turns a tree into objects, which the gate treats as immutable. A
// renderer that returns the same pointer for an object promises that its content
// is the same: the gate then reuses what it found out about it.
type Renderer interface {
	Render(ctx context.Context, fsys fs.FS) ([]Object, []verdict.Finding)
	// Line finds a field of a rendered object in its file, or the line of the
	// object where the file does not tell.
	Line(fsys fs.FS, src Source, field string) int
}

// An ImageVerifier proves who signed images. [image.Verifier] is one. Each run of
// the gate uses a session of its own, so that it sees one registry.
type ImageVerifier interface {
	NewSession() *image.Session
}

// A PolicyEvaluator judges one object. It must be safe for concurrent use.
type PolicyEvaluator interface {
	Evaluate(ctx context.Context, in PolicyInput) []verdict.Finding
	// ReadsContext reports whether the answer may depend on more than the object:
	// on the operation, the old object or the commit.
	ReadsContext() bool
}

// A PolicyInput is what the rules see of one object. Secrets are masked.
type PolicyInput struct {
	// Operation is CREATE, UPDATE or DELETE.
	Operation string
	// Object and OldObject are JSON; nil where there is none.
	Object, OldObject []byte
	// ID names the object, see [ObjectID].
	ID     string
	Source Source
	Commit commit.Info
	// Paths are the files that changed since the last release. They are left out
	// when the rules do not read the context.
	Paths []string
	// Images are what was proven of the images. Nil is that nobody asked; of an object
	// without images there are none.
	Images []image.Evidence
	// Time is when the decision is made.
	Time time.Time
	// User is who asks at admission; nil where nobody does.
	User *User
	// Namespace is that of the object. ClusterScoped says that it is in none.
	Namespace     string
	ClusterScoped bool
}

// A NeighbourEvaluator is a PolicyEvaluator whose rules may look at other objects
// than the one that they judge: at its Namespace, at any that there are, or at all of
// them together.
type NeighbourEvaluator interface {
	PolicyEvaluator
	// ReadsNeighbours reports whether a rule does.
	ReadsNeighbours() bool
	// Among returns an evaluator of objects that are among these.
	Among(objects []PolicyInput) (TogetherEvaluator, error)
}

// A TogetherEvaluator judges objects one by one, and once all of them together. The
// findings of the latter name no object.
type TogetherEvaluator interface {
	PolicyEvaluator
	Together(ctx context.Context) []verdict.Finding
}

// A User is who asks, as an API server knows him.
type User struct {
	Username, UID string
	Groups        []string
	Extra         map[string][]string
}

// A SecretKeeper knows encrypted objects. Its methods must never put a secret
// into an error.
type SecretKeeper interface {
	// Open decrypts the raw bytes of a file in memory and checks its integrity.
	Open(ctx context.Context, file string, raw []byte) (OpenedSecret, error)
	// Check fails, with a [SecretError], on an object whose form shows already that
	// it must not be applied: a Secret with plaintext, or ciphertext where rules
	// and image checks could not see what it becomes.
	Check(o Object) error
	// Masked returns a copy in which every secret value is replaced.
	Masked(object map[string]any) map[string]any
}

// An OpenedSecret is a decrypted file.
type OpenedSecret interface {
	// Apply returns a copy of object in which every ciphertext of this file is
	// replaced by its plaintext.
	Apply(document int, object map[string]any) (map[string]any, error)
	// Close forgets the plaintext as well as the runtime allows.
	Close()
}

// A SecretError is an error of the secret stage that a user may see. Any other
// error is reported without its text, which may quote plaintext.
type SecretError struct {
	Reason verdict.Reason
	// Field is the path of the field at fault, if any.
	Field string
	// Message is one line without secrets.
	Message string
	// Undetermined means that nothing is wrong as far as could be seen.
	Undetermined bool
}

func (e *SecretError) Error() string { return e.Message }

// A Refusal is an error of a [DryRunner] that says all there is to say: its findings
// are the answer.
type Refusal struct{ Findings []verdict.Finding }

func (e *Refusal) Error() string {
	if len(e.Findings) == 0 {
		return "refused"
	}
	return e.Findings[0].String()
}

// A DryRunner asks the cluster what it would say.
type DryRunner interface {
	// Deletions lists the live objects that a release of just these objects
	// would delete. It may fail with a [*Refusal].
	Deletions(ctx context.Context, keep []Object) ([]Object, error)
	// DryRun reports what the cluster would refuse.
	DryRun(ctx context.Context, c *Candidate) []verdict.Finding
}
