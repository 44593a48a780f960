package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/webhook/breakglass"
)

func newBreakGlassCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "breakglass",
		Short: "Open the lock in an emergency, for some hours and for named people",
		Long: `Breakglass makes, signs and applies grants: what exactly named people may do to
exactly named objects while the lock would refuse it, for at most four hours.

A grant counts when as many people have signed it with their SSH keys as
spec.breakGlass of a TrustPolicy asks for, two unless it says otherwise. The
webhook checks that offline, so it works while Git is down. When the grant ends,
gitgate shows what was changed as a patch to commit, and puts back what Git says.

  request   write a grant to a file
  sign      show a grant and add a signature to it
  apply     check a grant and send it to the cluster
  list      what is in force, and for how long
  revoke    end a grant before its time

No grant opens gitgate itself: its kinds but for GitSyncs, whose lock it may take
off, its namespace, its RBAC, webhook configurations and admission policies, nor
what mints an identity. A grant to create Pods or to exec into them hands out
what their service accounts may do. Whoever may impersonate a user of a grant
can use it as well.`,
		Example: `  # who is on call asks, two people sign, anybody applies
  gitgate breakglass request --as oscar@example.com --verb update --resource deployments.apps \
    --namespace shop --name web --reason "INC-17: checkout is down" --for 1h --file inc-17.yaml
  gitgate breakglass sign inc-17.yaml --key ~/.ssh/id_ed25519
  gitgate breakglass apply inc-17.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newBreakGlassRequestCommand(),
		newBreakGlassSignCommand(),
		newBreakGlassApplyCommand(),
		newBreakGlassListCommand(),
		newBreakGlassRevokeCommand(),
	)
	return cmd
}

// maxGrantFile bounds the file of one grant, in bytes.
const maxGrantFile = 1 << 20

// readGrant reads the one grant of a file, strictly: a field that is not known is
// one that nobody would sign.
func readGrant(file string, stdin io.Reader) (*v1alpha1.BreakGlass, error) {
	var raw []byte
	var err error
	if file == "-" {
		if raw, err = io.ReadAll(io.LimitReader(stdin, maxGrantFile+1)); len(raw) > maxGrantFile {
			err = fmt.Errorf("standard input is larger than %d bytes", maxGrantFile)
		}
	} else {
		raw, err = readBounded(file, maxGrantFile)
	}
	if err != nil {
		return nil, err
	}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
	doc, err := documents.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: no BreakGlass in it", file)
	}
	if more, err := documents.Read(); !errors.Is(err, io.EOF) && len(bytes.TrimSpace(more)) > 0 {
		return nil, fmt.Errorf("%s: holds more than one document", file)
	}
	g := &v1alpha1.BreakGlass{}
	if err := yaml.UnmarshalStrict(doc, g); err != nil {
		return nil, fmt.Errorf("%s: %s", file, oneLine(err))
	}
	if g.Kind != "BreakGlass" || g.APIVersion != v1alpha1.GroupVersion.String() {
		return nil, fmt.Errorf("%s: is not a BreakGlass of %s", file, v1alpha1.GroupVersion)
	}
	return g, nil
}

// grantFile is what a file of a grant holds, and no more.
type grantFile struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec v1alpha1.BreakGlassSpec `json:"spec"`
}

func encodeGrant(g *v1alpha1.BreakGlass) ([]byte, error) {
	f := grantFile{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "BreakGlass"}, Spec: g.Spec}
	f.Metadata.Name = g.Name
	return yaml.Marshal(f)
}

// writeGrant replaces a file, or writes to stdout for -. Who reads the file while
// it is written sees the old one or the new one.
func writeGrant(file string, stdout io.Writer, g *v1alpha1.BreakGlass) error {
	raw, err := encodeGrant(g)
	if err != nil {
		return err
	}
	if file == "-" {
		_, err := stdout.Write(raw)
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(file), ".breakglass-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(raw)
	if err = errors.Join(err, temporary.Chmod(0o644), temporary.Close()); err != nil { // a grant is no secret
		return err
	}
	return os.Rename(temporary.Name(), file)
}

// grantPayload is what is signed of a grant whose name must fit.
func grantPayload(file string, g *v1alpha1.BreakGlass) ([]byte, error) {
	payload, err := breakglass.Payload(&g.Spec.Grant)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if name := breakglass.Name(payload); g.Name != name {
		return nil, fmt.Errorf("%s: metadata.name is %q, but a grant of this content has the name %s: it was changed after it was requested; request another",
			file, g.Name, name)
	}
	return payload, nil
}
