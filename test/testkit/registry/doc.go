// Package registry is an OCI registry in this process, for tests and for the
// demo: real HTTP on a loopback port, real manifests, and signatures that the
// code of cosign makes and stores.
//
// [Start] runs the registry. Images, signatures and raw bytes are put into it
// behind its back, so that neither authentication nor faults concern whoever
// prepares a test. Everything that comes over the network passes the faults
// that [Registry.Inject] adds and is listed by [Registry.Requests].
//
// Keys come from cosign's own generator. Signatures are stored in the older
// layout (a tag named after the digest) or the newer one (a Sigstore bundle
// that refers to the image), the latter through the referrers API or, with
// [Options.NoReferrers], through the tag that replaces it.
package registry
