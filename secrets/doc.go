// Package secrets opens SOPS files in memory and says what is wrong with the
// secrets of a repository.
//
// [Inspect] and [Check] need no key: they read the public part of a file, find
// Secrets whose values lie open, and [Rules] compares a file's recipients with
// the creation rules of a .sops.yaml. [Open] decrypts a whole file as it lies in
// Git, verifies its MAC, and gives an [Opened], whose [Opened.Apply] puts the
// plaintext into an object that was rendered from that file.
//
// Only keys handed to [NewKeys] are ever used. Nothing that a file says makes
// this package open a connection, run a program or read the environment: key
// services, age plugins and the gpg binary are out of reach.
//
// The MAC of SOPS proves that whoever wrote the file held its data key, which
// anybody may create for a public recipient. It covers values and their order,
// not the names of keys, not comments, not null and not empty values. It grants
// nothing: the signature on the commit does.
//
// No error and no formatted value of this package holds a plaintext or a key.
package secrets
