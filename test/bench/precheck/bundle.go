package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gitgate.dev/gitgate/test/bench/internal/measure"
	"gitgate.dev/gitgate/test/testkit/registry"
)

// shareBundle has conftest pull the rules that gitgate pushed as a bundle: both are to
// read the same artifact, file by file. It is here because conftest is.
func (b *bench) shareBundle() error {
	reg := registry.Start(registry.Options{})
	defer reg.Close()
	nobody := filepath.Join(b.dir, "docker") // has no credentials
	bundle, ref := filepath.Join(b.dir, "bundle.tar.gz"), reg.Name("acme/rules:1")
	const pulled = "pulled" // conftest takes it from the current directory
	for _, args := range [][]string{
		{b.opts.gitgate, "policy", "build", b.rulesDir(sameName), "--format", "Conftest", "-o", bundle},
		{b.opts.gitgate, "policy", "push", bundle, ref, "--allow-loopback-http"},
		{b.conftest, "pull", "oci://" + ref, "--policy", pulled},
	} {
		if _, err := measure.Output(b.ctx, b.dir, []string{"DOCKER_CONFIG=" + nobody}, args[0], args[1:]...); err != nil {
			return err
		}
	}
	return sameFiles(b.rulesDir(sameName), filepath.Join(b.dir, pulled))
}

// sameFiles wants all files below a directory below another one.
func sameFiles(dir, other string) error {
	found := 0
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		found++
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join(other, name))
		if err == nil && !bytes.Equal(got, want) {
			err = fmt.Errorf("%s is another one in %s", name, other)
		}
		return err
	})
	if err == nil && found == 0 {
		err = errors.New("there is no file in " + dir)
	}
	return err
}
