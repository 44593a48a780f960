package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// deployDir holds the manifests of a repository.
const deployDir = "deploy"

// A site is a number of objects, as files and as a repository with what judges it.
type site struct {
	objects int
	files   string // directory of the files at main
	repo    string
	bytes   int

	config map[string]string // by rules: file of gitgate's configuration
}

// newSite writes a site below dir. Its repository is as a clone is: one pack, in
// which main adds the manifests to a signed root and change edits one object.
func newSite(ctx context.Context, dir string, docs []document, objects int, rules map[string]ruleSet) (*site, error) {
	s := &site{objects: objects, files: filepath.Join(dir, "files"), repo: filepath.Join(dir, "repo"), config: map[string]string{}}
	tree := manifests(docs, objects)
	inRepo := map[string]string{}
	for name, text := range tree {
		s.bytes += len(text)
		inRepo[path.Join(deployDir, name)] = text
		if err := writeFile(filepath.Join(s.files, filepath.FromSlash(name)), text); err != nil {
			return nil, err
		}
	}
	alice, err := gitrepo.NewSSH("Alice", "alice@example.com", gitrepo.SSHEd25519)
	if err != nil {
		return nil, err
	}
	root, err := s.commit(alice, inRepo)
	if err != nil {
		return nil, err
	}
	for name, set := range rules {
		text, err := configuration(root, alice, set)
		if err != nil {
			return nil, err
		}
		s.config[name] = filepath.Join(dir, name+".yaml")
		if err := writeFile(s.config[name], text); err != nil {
			return nil, err
		}
	}
	return s, ctx.Err()
}

// oneMore is what the branch change adds to a file: it breaks one rule.
const oneMore = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: one-more
  namespace: default
spec:
  selector:
    matchLabels: {app: one-more}
  template:
    metadata:
      labels: {app: one-more}
    spec:
      hostIPC: true
      containers:
      - name: pause
        image: registry.k8s.io/pause@sha256:278fb9dbcca9518083ad1e11276933a2e96f23de604a3a08cc3c80002767d24c
`

// commit makes the history and returns its root.
func (s *site) commit(alice *gitrepo.SSHKey, tree map[string]string) (string, error) {
	repo, err := gitrepo.InitBare(s.repo)
	if err != nil {
		return "", err
	}
	repo.Clock = gitrepo.Ticking(time.Now().Add(-time.Hour).Truncate(time.Second))
	commit := func(message, branch string, files map[string]string) (string, error) {
		h, err := repo.Commit(gitrepo.Change{Message: message, Branch: branch, Files: files, Author: alice.Person(), Sign: alice})
		return h.String(), err
	}
	root, err := commit("start of history", "main", map[string]string{"README.md": "# Manifests\n"})
	if err != nil {
		return "", err
	}
	base, err := commit("all manifests", "main", tree)
	if err != nil {
		return "", err
	}
	if out, err := repo.Git("branch", "change", base); err != nil {
		return "", fmt.Errorf("git branch: %w: %s", err, out)
	}
	name := path.Join(deployDir, fileName(0)) // no other object of it is denied
	if _, err := commit("one more object", "change", map[string]string{name: tree[name] + "---\n" + oneMore}); err != nil {
		return "", err
	}
	if out, err := repo.Git("repack", "-a", "-d", "-q"); err != nil {
		return "", fmt.Errorf("git repack: %w: %s", err, out)
	}
	return root, nil
}

type (
	object = map[string]any
	list   = []any
)

const repositoryURL = "https://git.example.com/manifests.git"

// configuration is what judges the repository: who may sign, that every image may
// run, and the rules.
func configuration(root string, alice *gitrepo.SSHKey, set ruleSet) (string, error) {
	var text string
	for _, o := range []object{
		{"apiVersion": "gitgate.dev/v1alpha1", "kind": "TrustPolicy", "metadata": object{"name": "everything"}, "spec": object{
			"repositories": list{object{"url": repositoryURL, "refs": list{"main"}, "root": root}},
			"namespaces":   list{"gitgate-system"},
			"commits": object{
				"signers": list{object{"name": "alice", "ssh": object{"allowedSigners": alice.AllowedSigner(`namespaces="git"`) + "\n"}}},
				"rules":   list{object{"paths": list{"**"}, "signers": list{"alice"}}},
			},
			"images": object{"rules": list{object{"match": list{"**"}, "static": "Allow"}}},
		}},
		{"apiVersion": "gitgate.dev/v1alpha1", "kind": "PolicySet", "metadata": object{"name": "rules"}, "spec": object{
			"format": conftestFormat, "source": object{"inline": set},
		}},
		{"apiVersion": "gitgate.dev/v1alpha1", "kind": "GitSync", "metadata": object{"name": "manifests", "namespace": "gitgate-system"}, "spec": object{
			"url": repositoryURL, "ref": object{"branch": "main"}, "path": deployDir,
			"trust": object{"name": "everything"}, "policies": list{object{"name": "rules"}},
		}},
	} {
		data, err := yaml.Marshal(o)
		if err != nil {
			return "", err
		}
		text += "---\n" + string(data)
	}
	return text, nil
}

func writeFile(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o644)
}
