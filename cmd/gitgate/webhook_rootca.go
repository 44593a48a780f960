package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"k8s.io/client-go/rest"
)

// podCAFile is where a Pod finds the content of its namespace's kube-root-ca.crt, by
// which [rest.InClusterConfig] has it reach the API server.
const podCAFile = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"

// maxBundle bounds a bundle of certificates: what a ConfigMap holds.
const maxBundle = 1 << 20

// clusterCA is what kube-root-ca.crt may hold: what is in a file now, and what was in it
// when the process began, lest a file that somebody got changed keeps the publisher
// from putting things right.
type clusterCA struct{ file, first string }

// newClusterCA reads a file that was asked for, or else the Pod's own. The CA of a
// kubeconfig need not be what the publisher has, and nobody keeps it up to date: by it
// a rotation would be refused for good. Nil means that nothing is known.
func newClusterCA(file string, config *rest.Config) (*clusterCA, error) {
	if file == "" && config.CAFile != podCAFile {
		return nil, nil
	}
	c := &clusterCA{file: file}
	if c.file == "" {
		c.file = config.CAFile
	}
	var err error
	if c.first, err = readBundle(c.file); err != nil && file != "" {
		return nil, fmt.Errorf("--cluster-ca-file: %w", err)
	}
	return c, nil
}

// bundles returns what is known. It reads the file, which is asked for only when the
// publisher writes.
func (c *clusterCA) bundles() []string {
	if c == nil {
		return nil
	}
	now, err := readBundle(c.file)
	if err != nil {
		now = "" // what it was at first counts on
	}
	return slices.DeleteFunc([]string{now, c.first}, func(s string) bool { return s == "" })
}

func readBundle(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxBundle+1))
	switch {
	case err != nil:
		return "", err
	case len(raw) == 0:
		return "", errors.New(file + " is empty")
	case len(raw) > maxBundle:
		return "", fmt.Errorf("%s is larger than %d bytes", file, maxBundle)
	}
	return string(raw), nil
}
