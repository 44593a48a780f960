package secrets

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/stores"
	"go.yaml.in/yaml/v3"
)

// The stores of sops read a file into the tree that its MAC and its keys are about. They
// come with all that sops can publish to, two hundred packages that each start of a program
// initializes. What they do to a file that [parse] accepts is done here, value for value:
// FuzzTree compares.

// tree is the file as sops sees it, without comments: no MAC covers them, so nothing may
// depend on them.
func (f *file) tree(raw []byte) (*sops.Tree, error) {
	if !f.json {
		// What the first document of a file cannot be, sops does not read.
		if err := yaml.NewDecoder(bytes.NewReader(raw)).Decode(make(map[string]any)); err != nil {
			return nil, err
		}
	}
	var branches sops.TreeBranches
	for _, doc := range f.docs {
		switch {
		case doc == nil && !f.json:
			branches = append(branches, sops.TreeBranch{})
		case doc == nil || doc.Kind != yaml.MappingNode:
			return nil, errors.New("a document is not a mapping")
		default:
			branch, err := f.branch(doc)
			if err != nil {
				return nil, err
			}
			branches = append(branches, branch)
		}
	}
	branches, metadata, err := stores.ExtractMetadata(branches, stores.MetadataOpts{Flatten: stores.MetadataFlattenNone})
	return &sops.Tree{Branches: branches, Metadata: metadata}, err
}

func (f *file) branch(n *yaml.Node) (sops.TreeBranch, error) {
	branch := make(sops.TreeBranch, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, err := f.scalar(n.Content[i])
		if err != nil {
			return nil, err
		}
		v, err := f.treeValue(n.Content[i+1])
		if err != nil {
			return nil, err
		}
		branch = append(branch, sops.TreeItem{Key: key, Value: v})
	}
	return branch, nil
}

func (f *file) treeValue(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.MappingNode:
		return f.branch(n)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			v, err := f.treeValue(c)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.AliasNode:
		return f.treeValue(n.Alias)
	}
	return f.scalar(n)
}

// scalar returns what a MAC is computed over: the type of a value counts.
func (f *file) scalar(n *yaml.Node) (v any, err error) {
	if !f.json {
		_ = n.Decode(&v) // what YAML cannot make a value of is none
		return v, nil
	}
	switch n.Tag {
	case "!!str":
		return n.Value, nil
	case "!!bool":
		return n.Value == "true", nil
	case "!!int":
		return strconv.Atoi(n.Value)
	case "!!float":
		return strconv.ParseFloat(n.Value, 64)
	}
	return nil, nil
}
