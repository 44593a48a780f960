package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

const (
	// fluxPackage is the peer; its version is in the go.mod file of its module.
	fluxPackage = "github.com/fluxcd/kustomize-controller"
	// sourcePackage has the CRDs of sources. It is not built, and so it is pinned
	// here: a requirement would change what the peer is built from.
	sourcePackage = "github.com/fluxcd/source-controller@v1.9.6"
	sourceSum     = "h1:nG534/bI6nVpyHra7ONAk6xDB3xPsVT+EOLHZHXPrrc="
)

// flux is where the peer comes from.
var flux = measure.Peer{
	Name: "Flux's kustomize-controller", Module: "test/bench/flux", Package: fluxPackage, Binary: "kustomize-controller",
}

// A peer is Flux, built.
type peer struct {
	binary string
	crds   []string // directories of manifests
}

// buildPeer builds Flux, unless it is in the user's cache.
func buildPeer(ctx context.Context, tell measure.Teller) (*peer, error) {
	module, err := flux.Dir()
	if err != nil {
		return nil, err
	}
	p := &peer{}
	for _, m := range []struct{ path, sum string }{{fluxPackage, ""}, {sourcePackage, sourceSum}} {
		crds, err := moduleCRDs(ctx, module, m.path, m.sum)
		if err != nil {
			return nil, err
		}
		p.crds = append(p.crds, crds)
	}
	p.binary, err = flux.Build(ctx, tell)
	return p, err
}

// moduleCRDs downloads a module and returns the directory of its CRDs. With a
// sum, the module must have it; otherwise go.sum vouches for it.
func moduleCRDs(ctx context.Context, module, path, sum string) (string, error) {
	out, err := measure.Output(ctx, module, nil, "go", "mod", "download", "-json", path)
	if err != nil {
		return "", err
	}
	var m struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &m); err != nil {
		return "", err
	}
	if sum != "" && m.Sum != sum {
		return "", fmt.Errorf("%s has the checksum %s, want %s", path, m.Sum, sum)
	}
	return filepath.Join(m.Dir, "config", "crd", "bases"), nil
}
