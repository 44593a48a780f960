package commit_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/verify/commit"
)

func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	repo, err := gitrepo.InitBare(dir)
	if err != nil {
		panic(err)
	}
	carol, err := gitrepo.NewSSH("Carol", "carol@example.com", gitrepo.SSHEd25519)
	if err != nil {
		panic(err)
	}
	root, _ := repo.Commit(gitrepo.Change{Files: map[string]string{"app.yaml": "replicas: 1\n"}})
	head, _ := repo.Commit(gitrepo.Change{Files: map[string]string{"app.yaml": "replicas: 2\n"}, Author: carol.Person(), Sign: carol})

	verifier, err := commit.NewVerifier(commit.Config{
		Signers:               []commit.SignerConfig{{Name: "carol", AllowedSigners: carol.AllowedSigner(`namespaces="git"`)}},
		Rules:                 []commit.Rule{{Paths: []string{"**"}, Signers: []string{"carol"}}},
		AuthorMustMatchSigner: true,
		Root:                  root.String(),
	})
	if err != nil {
		panic(err)
	}
	tree, report := verifier.Verify(context.Background(), commit.Request{Objects: repo.Objects(), Head: head})
	if tree == nil {
		fmt.Println(report.Problems)
		return
	}
	content, _ := fs.ReadFile(tree, "app.yaml")
	fmt.Printf("%s signed %s", tree.Commit().Signers[0], content)
	// Output: carol signed replicas: 2
}

func ExampleVerifier_Verify_refused() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	repo, err := gitrepo.InitBare(dir)
	if err != nil {
		panic(err)
	}
	root, _ := repo.Commit(gitrepo.Change{Files: map[string]string{"app.yaml": "replicas: 1\n"}})
	head, _ := repo.Commit(gitrepo.Change{Files: map[string]string{"app.yaml": "replicas: 9\n"}})

	verifier, err := commit.NewVerifier(commit.Config{Root: root.String()})
	if err != nil {
		panic(err)
	}
	tree, report := verifier.Verify(context.Background(), commit.Request{Objects: repo.Objects(), Head: head})
	fmt.Println(tree == nil, report.Problems[0].Reason, report.Problems[0].Message)
	// Output: true UnsignedCommit commit by Nobody <nobody@example.com> is not signed
}
