package secrets

// MaxFileSize bounds a file: an object of Kubernetes is at most 1.5 MiB, and
// ciphertext is a third longer than plaintext.
const MaxFileSize = 4 << 20

// The limits below are far above what people write and keep the cost of a
// hostile file low.
const (
	maxDepth     = 64      // nesting of a document
	maxNodes     = 100_000 // of a file, aliases counted each time they are used
	maxDocuments = 1_000
	maxPatterns  = 50_000 // path elements that sops matches against a pattern

	maxRecipients       = 64       // of a file
	maxEncryptedDataKey = 16 << 10 // bytes; a post-quantum age header takes 3 KiB
	maxDataKey          = 256      // bytes; sops keys have 32, or 33 as a Shamir share
	maxPattern          = 256      // bytes of a regular expression in the metadata

	maxKeyEntries   = 64      // of a Secret with keys
	maxKeyEntrySize = 1 << 20 // bytes
	maxIdentities   = 256     // age identities and OpenPGP keys together

	maxRulesSize = 1 << 20 // bytes of a .sops.yaml
)
