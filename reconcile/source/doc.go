// Package source keeps bare clones of remote Git repositories: it says which
// commit a branch is at and gives read access to that commit's history.
//
// [Open] a [Cache] (a directory), take a [Repository] from it for each user of
// a remote, and call [Repository.Fetch] as often as its interval says. While
// nothing has changed a fetch costs one ls-refs request; otherwise it brings
// what is new and nothing else. Repositories with the same URL share a clone,
// between goroutines and between processes.
//
// The remote is not trusted. Everything that it says is parsed under [Limits],
// no name of its choosing becomes a file name, no program is run, a redirect
// leads nowhere but to the same host, and the store is closed: a pack enters it
// only when each object that it names is there, so what was fetched is a whole
// history. What the objects are worth is for verify/commit to say.
//
// The cache directory is not trusted to be intact either. Packs are checked when
// they are first opened and objects are hashed when they are read; a damaged
// clone is never served, the next fetch replaces it.
//
// source speaks versions 2 and 0 of Git's protocol itself (gitprotocol-v2(5),
// gitprotocol-pack(5)) over HTTPS and SSH. It does not log: failures are
// [*Error] values, and no error holds a credential.
package source
