// Command gitgate makes Git the only write path into a Kubernetes cluster.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
