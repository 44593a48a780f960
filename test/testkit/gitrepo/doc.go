// Package gitrepo builds Git repositories for tests and for the demo, object by
// object, so that a commit can be as right or as wrong as is wanted.
//
//	alice, _ := gitrepo.NewOpenPGP(gitrepo.OpenPGPOptions{Name: "Alice", Email: "alice@example.com"})
//	repo, _ := gitrepo.InitBare(dir)
//	hash, _ := repo.Commit(gitrepo.Change{
//		Files:  map[string]string{"app.yaml": "…"},
//		Author: alice.Person(),
//		Sign:   alice,
//	})
//
// Objects are written through go-git's storage; the git binary is not needed.
// [Change.Raw] edits the final bytes of a commit, [Repo.Object] writes any bytes
// as an object and [Repo.Forge] writes them under a name that is not their hash.
// Signers make OpenPGP and SSH signatures of good and of weak algorithms, with
// keys that are valid, expired, revoked or certified.
//
// Nothing here depends on the testing package; [For] adds helpers for tests.
package gitrepo
