package lab

import (
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/test/testkit/sopskit"
)

// Deployment is a manifest that the restricted policy allows.
func Deployment(name, image string, replicas int) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: %[1]s
spec:
  replicas: %[3]d
  selector:
    matchLabels: {app: %[1]s}
  template:
    metadata:
      labels: {app: %[1]s}
    spec:
      automountServiceAccountToken: false
      securityContext:
        runAsNonRoot: true
        seccompProfile: {type: RuntimeDefault}
      containers:
        - name: app
          image: %[2]s
          securityContext:
            allowPrivilegeEscalation: false
            capabilities: {drop: [ALL]}
`, name, image, replicas)
}

// ConfigMap is a manifest with one entry.
func ConfigMap(name, key, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  %s: %q\n", name, key, value)
}

// PlainSecret is the manifest of a Secret that nobody encrypted.
func PlainSecret(name, key, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\nstringData:\n  %s: %q\n", name, key, value)
}

// EncryptedSecret is the manifest of a Secret as sops writes it, for the lab's
// recipient.
func (l *Lab) EncryptedSecret(name, key, value string) (string, error) {
	out, err := sopskit.Encrypt(name+".yaml", []byte(PlainSecret(name, key, value)), sopskit.For(l.Age))
	return string(out), err
}

// SignedImage pushes an image and signs it with the release key, in both layouts.
func (l *Lab) SignedImage(name string) (registry.Image, error) {
	i, err := l.Registry.PushImage(name)
	if err != nil {
		return i, err
	}
	if err := l.Registry.SignTag(i, l.Release); err != nil {
		return i, err
	}
	return i, l.Registry.SignBundle(i, l.Release)
}

// Commit commits as Alice, signed, unless the change names an author: then it is
// signed as the change says.
func (l *Lab) Commit(c gitrepo.Change) (plumbing.Hash, error) { return l.Repo.Commit(l.signed(c)) }

func (l *Lab) signed(c gitrepo.Change) gitrepo.Change {
	if c.Author == (gitrepo.Person{}) {
		c.Author = l.Alice.Person()
		if c.Sign == nil {
			c.Sign = l.Alice
		}
	}
	return c
}
