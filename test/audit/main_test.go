package audit

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"gitgate.dev/gitgate/test/testkit/lab"
)

var binaryDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "gitgate-audit-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binaryDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir) // what is left is in the way of nobody
	os.Exit(code)
}

// build builds gitgate once for all tests.
var build = sync.OnceValues(func() (string, error) { return lab.Binary(context.Background(), binaryDir) })

func binary(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
