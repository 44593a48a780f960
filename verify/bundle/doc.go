// Package bundle keeps policy bundles in OCI registries: it fetches, pushes and signs
// them. What is in a bundle it does not know; gitgate.dev/gitgate/policy/bundle does.
//
// A bundle is an artifact of one layer, the gzipped archive, as OPA downloads and
// `conftest pull` unpacks it. [Fetcher.Fetch] returns bytes only if somebody whose
// word counts has signed the digest of the artifact's manifest: package
// gitgate.dev/gitgate/verify/image verifies that, and with it holds everything that is
// asked of a registry to bounds. Manifest, layer and signatures are then one chain of
// hashes, each made here.
//
// [Sign] does what `cosign sign` does with a key, and stores a Sigstore bundle that
// refers to the artifact; cosign can verify it, as gitgate verifies what cosign signs.
package bundle
