package main

import (
	"context"
	"encoding/json"
	"path/filepath"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// The two programs that Flux is here. Their versions are in the go.mod files of their
// modules.
var (
	kustomizeController = measure.Peer{
		Name: "Flux's kustomize-controller", Module: "test/bench/flux", Package: "github.com/fluxcd/kustomize-controller", Binary: "kustomize-controller",
	}
	sourceController = measure.Peer{
		Name: "Flux's source-controller", Module: "test/bench/fluxsource", Package: "github.com/fluxcd/source-controller", Binary: "source-controller",
	}
)

// A peer is Flux, built.
type peer struct {
	kustomize, source string   // the programs
	crds              []string // directories of manifests
}

// buildPeer builds Flux, unless it is in the user's cache.
func buildPeer(ctx context.Context, tell measure.Teller) (*peer, error) {
	p := &peer{}
	for _, part := range []struct {
		peer   measure.Peer
		binary *string
	}{{kustomizeController, &p.kustomize}, {sourceController, &p.source}} {
		module, err := part.peer.Dir()
		if err != nil {
			return nil, err
		}
		crds, err := moduleCRDs(ctx, module, part.peer.Package)
		if err != nil {
			return nil, err
		}
		p.crds = append(p.crds, crds)
		if *part.binary, err = part.peer.Build(ctx, tell); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// moduleCRDs downloads a module, for which go.sum vouches, and returns the directory of
// its CRDs.
func moduleCRDs(ctx context.Context, module, path string) (string, error) {
	out, err := measure.Output(ctx, module, nil, "go", "mod", "download", "-json", path)
	if err != nil {
		return "", err
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil {
		return "", err
	}
	return filepath.Join(m.Dir, "config", "crd", "bases"), nil
}
