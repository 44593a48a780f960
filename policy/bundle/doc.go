// Package bundle reads and builds OPA bundles: policies and their data as one file
// that can be signed, pushed to a registry and pinned by its digest.
//
// [Read] takes the bytes of a gzipped tar archive as OPA's documentation of the
// bundle file format describes it, whoever made it, and [Bundle.Set] makes of it what
// [policy.Load] takes. [Build] makes such bytes from a directory; the same files give
// the same bytes.
//
// Nothing is unpacked: names in the archive are names in memory. Whoever made a
// bundle is a stranger until its signature is verified, and its content is bounded
// even then; see [Limits]. Package gitgate.dev/gitgate/verify/bundle is about
// registries and signatures.
//
// # What a bundle may hold
//
//   - .manifest: revision, roots, rego_version and metadata count. The metadata key
//     [FormatKey] says for which tool the files were written.
//   - *.rego, and data.json and data.yaml, which are data at the path of their
//     directory. In the format Conftest all JSON and YAML is data, in the format
//     Gatekeeper it holds templates and constraints.
//   - .signatures.json is left out: it is OPA's own signature, and what counts here is
//     the one of the artifact. Other hidden files, and files that no format has a use
//     for, are left out as well.
//
// Compiled rules (policy.wasm), delta bundles (patch.json at the root) and manifests
// in protocol buffers (.manifest.pb) are refused, and so is what the roots do not
// cover, data that shadows a rule, and whatever in an archive is neither a file nor a
// directory.
package bundle
