// Command gitgate makes Git the only write path into a Kubernetes cluster.
package main

import (
	"os"

	"gitgate.dev/gitgate/cmd/gitgate/internal/start"
)

func main() {
	start.Done()
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
