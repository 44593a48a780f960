package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"sigs.k8s.io/yaml"
)

// The floors: what nobody can do without.
const (
	// bareQuery reads, parses and evaluates one prepared query.
	bareQuery = "bare query"
	// bareHash only hashes every file.
	bareHash = "bare hash"
)

// runFloor is the program of a floor: its name, the directory of the manifests,
// and that of the rules.
func runFloor(ctx context.Context, args []string, out io.Writer) (denied bool, err error) {
	if len(args) != 3 {
		return false, fmt.Errorf("want a floor and two directories, got %q", args)
	}
	files, err := walk(args[1])
	if err != nil {
		return false, err
	}
	switch args[0] {
	case bareHash:
		return false, inParallel(files, func(file string) error {
			data, err := os.ReadFile(file)
			sha256.Sum256(data)
			return err
		})
	case bareQuery:
		v, err := queryAll(ctx, files, args[2])
		if err != nil {
			return false, err
		}
		return len(v) > 0, json.NewEncoder(out).Encode(v)
	}
	return false, fmt.Errorf("%q: want %q or %q", args[0], bareQuery, bareHash)
}

func walk(dir string) (files []string, err error) {
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, file)
		}
		return err
	})
	return files, err
}

// inParallel does something with each file, on all processors.
func inParallel(files []string, do func(file string) error) error {
	queue := make(chan string, len(files))
	for _, f := range files {
		queue <- f
	}
	close(queue)
	errs := make([]error, runtime.GOMAXPROCS(0))
	var workers sync.WaitGroup
	for w := range errs {
		workers.Go(func() {
			for file := range queue {
				if errs[w] = do(file); errs[w] != nil {
					return
				}
			}
		})
	}
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// queryAll evaluates the rules on every object of the files.
func queryAll(ctx context.Context, files []string, policy string) (verdict, error) {
	query, err := rego.New(rego.Query("data.main.deny"), rego.Load([]string{policy}, nil)).PrepareForEval(ctx)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	v := verdict{}
	return v, inParallel(files, func(file string) error {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, text := range documentLine.Split(string(data), -1) {
			messages, err := evaluate(ctx, query, []byte(text))
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			mu.Lock()
			v = append(v, messages...)
			mu.Unlock()
		}
		return nil
	})
}

// evaluate judges one object.
func evaluate(ctx context.Context, query rego.PreparedEvalQuery, text []byte) (messages []string, err error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	var object any
	if err := yaml.Unmarshal(text, &object); err != nil {
		return nil, err
	}
	input, err := ast.InterfaceToValue(object)
	if err != nil {
		return nil, err
	}
	results, err := query.Eval(ctx, rego.EvalParsedInput(input))
	if err != nil {
		return nil, err
	}
	for _, r := range results {
		for _, m := range r.Expressions[0].Value.([]any) {
			messages = append(messages, m.(string))
		}
	}
	return messages, nil
}
