package source_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"gitgate.dev/gitgate/reconcile/source"
	"gitgate.dev/gitgate/test/testkit/gitserver"
)

// A reconciler fetches, verifies what Head leads to, applies it and remembers
// that it did.
func Example() {
	err := follow(context.Background())
	if failed := (*source.Error)(nil); errors.As(err, &failed) {
		fmt.Println(failed.Reason, failed.Err)
	}
	// Output: SourceUnavailable the remote has no branch "main"
}

func follow(ctx context.Context) error {
	server, err := gitserver.Start(gitserver.Options{Username: "bot", Password: "s3cret"})
	if err != nil {
		return err
	}
	defer server.Close()
	if _, err := server.CreateRepo("shop.git"); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gitgate-cache-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	cache, err := source.Open(dir)
	if err != nil {
		return err
	}
	url := server.URL("shop.git")
	auth, err := source.AuthFromSecret(url, map[string][]byte{"username": []byte("bot"), "password": []byte("s3cret")})
	if err != nil {
		return err
	}
	repo, err := cache.Repository(source.Options{URL: url, Branch: "main", Auth: auth, AllowInsecureLoopback: true})
	if err != nil {
		return err
	}
	defer repo.Close()
	last, err := repo.Applied("team-shop/shop")
	if err != nil {
		return err
	}
	res, err := repo.Fetch(ctx)
	if err != nil {
		return err
	}
	if res.Head == last {
		return nil
	}
	// … verify res.Objects from last to res.Head, and apply …
	return repo.SetApplied("team-shop/shop", res.Head)
}
