// Command generate embeds the OpenAPI schemas of Kubernetes: it reduces those of
// the k8s.io/kubernetes that test/controlplane requires to what a validator needs,
// and writes them to an archive.
//
// The archive bears a stamp of all that went into it: the module by its checksum,
// this program by its source, and the entries themselves. As long as the stamp
// holds, nothing is fetched and nothing is done. Entries are compared uncompressed,
// so that another compressor changes nothing either.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", "../..", "the top of the repository")
	force := flag.Bool("force", false, "generate even if the stamp holds")
	flag.Parse()
	if err := run(*root, *force); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(root string, force bool) error {
	out := filepath.Join(root, "policy", "schema", "kubernetes.zip")
	want, err := stampOf(root)
	if err != nil {
		return err
	}
	have, err := readArchive(out)
	if err == nil && !force && have.current(want) {
		return nil
	}
	dir, err := moduleDir(root, want.Module)
	if err != nil {
		return err
	}
	fresh, err := reduce(filepath.Join(dir, "api", "openapi-spec", "v3"), want.version())
	if err != nil {
		return err
	}
	if fresh.equal(have) && have.current(want) {
		return nil
	}
	return fresh.write(out, want)
}
