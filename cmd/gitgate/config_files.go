package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
)

// Bounds on files that the user names, in bytes.
const (
	maxKeyFile   = 64 << 10
	maxTrustFile = 4 << 20
)

// readBounded reads a file that must not be larger than limit bytes.
func readBounded(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", file, limit)
	}
	return raw, nil
}

// readTrustPolicy reads the one TrustPolicy of a file, strictly: a field that it
// does not know may be a condition that it would not enforce. Documents of other
// kinds are left alone.
func readTrustPolicy(file string) (*v1alpha1.TrustPolicy, error) {
	raw, err := readBounded(file, maxTrustFile)
	if err != nil {
		return nil, fmt.Errorf("--trust: %w", err)
	}
	var found *v1alpha1.TrustPolicy
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
	for {
		doc, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("--trust %s: %w", file, err)
		}
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			return nil, fmt.Errorf("--trust %s: %w", file, err)
		}
		if kind.Kind != "TrustPolicy" || kind.APIVersion != v1alpha1.GroupVersion.String() {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("--trust %s: holds more than one TrustPolicy", file)
		}
		found = &v1alpha1.TrustPolicy{}
		if err := yaml.UnmarshalStrict(doc, found); err != nil {
			return nil, fmt.Errorf("--trust %s: %w", file, err)
		}
	}
	if found == nil {
		return nil, fmt.Errorf("--trust %s: holds no TrustPolicy of %s", file, v1alpha1.GroupVersion)
	}
	return found, nil
}
