package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// kubernetes is the module that holds the OpenAPI documents.
const kubernetes = "k8s.io/kubernetes"

// A stamp tells what an archive was made of.
type stamp struct {
	// Module is the module and its version; Sum is its checksum by go.sum.
	Module string `json:"module"`
	Sum    string `json:"sum"`
	// Program is the SHA-256 of the sources of this program.
	Program string `json:"program"`
	// Entries is the SHA-256 of all other entries.
	Entries string `json:"entries"`
}

func (s stamp) version() string {
	_, version, _ := strings.Cut(s.Module, "@")
	return version
}

// stampOf returns what an archive should be made of now; its Entries are empty.
func stampOf(root string) (stamp, error) {
	dir := filepath.Join(root, "test", "controlplane")
	version, err := word(filepath.Join(dir, "go.mod"), kubernetes, "v")
	if err != nil {
		return stamp{}, err
	}
	sum, err := word(filepath.Join(dir, "go.sum"), kubernetes+" "+version, "h1:")
	if err != nil {
		return stamp{}, err
	}
	program, err := sourceSum(root)
	return stamp{Module: kubernetes + "@" + version, Sum: sum, Program: program}, err
}

// word finds the line of a file that holds the words after, and returns the word
// that follows them, which must begin with prefix.
func word(path, after, prefix string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		rest, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), after+" ")
		if found, _, _ := strings.Cut(rest, " "); ok && strings.HasPrefix(found, prefix) {
			return found, nil
		}
	}
	return "", fmt.Errorf("%s: no line with %s %s…", path, after, prefix)
}

// sourceSum hashes what this program is made of.
func sourceSum(root string) (string, error) {
	h := sha256.New()
	for _, pkg := range []string{"generate", "openapi"} {
		files, err := filepath.Glob(filepath.Join(root, "policy", "schema", "internal", pkg, "*.go"))
		if err != nil {
			return "", err
		}
		slices.Sort(files)
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			data, err := os.ReadFile(f)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(h, "%s %d\n%s", filepath.Base(f), len(data), data)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// moduleDir returns where the module is, fetching it if it is not there. The go
// command holds it to the checksum in go.sum.
func moduleDir(root, module string) (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Dir = filepath.Join(root, "test", "controlplane")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go mod download %s: %w\n%s", module, err, out)
	}
	var answer struct{ Dir string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return "", fmt.Errorf("go mod download %s: %w", module, err)
	}
	return answer.Dir, nil
}
