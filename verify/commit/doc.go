// Package commit proves who signed a Git tree.
//
// A [Verifier] holds the signers whose word counts. [Verifier.Verify] judges a
// head: every commit between the pinned root and the head must carry a signature
// by a signer who is allowed on each path that the commit changes, and the head
// must descend from what was in force before. Only then does it mint a [Tree],
// an [io/fs.FS] over the object store at the verified hash. There is no checkout,
// and no other way to get a Tree.
//
// # What is signed is bytes
//
// Signatures are verified over the raw bytes of an object with the signature cut
// out, never over a decoded and re-encoded one, and only for objects that have
// exactly the form in which Git writes them: duplicate, misplaced or unknown
// forms of the headers that carry meaning are refused (CVE-2026-44309,
// CVE-2026-45022). The hash of every object is computed again from what was
// read, with SHA-1 collision detection. Replace refs, grafts and shallow files
// are never consulted.
//
// # Time
//
// A commit that is new is judged at the present time: its key must be valid now,
// for the time that a signature claims is the signer's to choose, and whoever
// holds an expired or retired key can claim any. A commit that was in force
// before, which is one reachable from [Request.Base], is judged at the time at
// which it says it was signed, so that a key may expire without taking history
// with it. A key revoked because it was compromised, or without a reason, is
// refused everywhere and at all times, since nothing it signed can be told apart
// from a forgery. Retire a signer by letting the key expire, by revoking it as
// superseded or retired, or by valid-before; removing it from the configuration
// takes back its word for history too, until the root is moved.
//
// # Paths
//
// The paths that a commit changes are those that differ from any of its parents,
// so a merge needs a signer who is allowed on all that it brings together. What
// seems lenient instead, to look only at paths that differ from every parent,
// would let a merge undo a change of another owner by taking the older side.
//
// # The root
//
// Trust starts at [Config.Root]. The root and its ancestors are trusted by hash
// and need no signature; everything between it and the head needs one.
//
// The package reads from go-git's storage, verifies OpenPGP and SSH signatures,
// and names but does not verify X.509 ones (gitsign). It returns errors and
// problems and does not log. See gitformat-signature(5), RFC 9580 and OpenSSH's
// PROTOCOL.sshsig for the formats.
package commit
