package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// trustGrants says, before anything is locked, who may sign grants.
func (d *demo) trustGrants(ctx context.Context) (err error) {
	if d.carol, err = gitrepo.NewSSH("Carol", "carol@example.com", gitrepo.SSHEd25519); err != nil {
		return err
	}
	var trust v1alpha1.TrustPolicy
	if err := d.Client.Get(ctx, client.ObjectKey{Name: lab.TrustName}, &trust); err != nil {
		return err
	}
	before := trust.DeepCopy()
	trust.Spec.BreakGlass = &v1alpha1.BreakGlassTrust{
		AllowedSigners: d.Bob.AllowedSignerAs("bob") + "\n" + d.carol.AllowedSignerAs("carol") + "\n",
		Namespaces:     []string{lab.Namespace},
	}
	return d.Client.Patch(ctx, &trust, client.MergeFrom(before))
}

// breakGlass opens one thing with a grant that two people signed, and fails unless
// just that is open, and closed again when the grant is revoked.
func (d *demo) breakGlass(ctx context.Context) error {
	file := filepath.Join(d.Dir, "inc-17.yaml")
	if err := d.cli(ctx, "breakglass request --as alice --verb update --resource deployments.apps/scale --namespace shop --name web --for 1h",
		"--reason", "INC-17: checkout is down", "--file", file); err != nil {
		return err
	}
	for name, key := range map[string]*gitrepo.SSHKey{"bob": d.Bob, "carol": d.carol} {
		if err := d.writeKey(name, key); err != nil {
			return err
		}
	}
	for _, name := range []string{"bob", "carol"} {
		if err := d.cli(ctx, "breakglass sign inc-17.yaml --yes --key "+name); err != nil {
			return err
		}
	}
	if err := d.cli(ctx, "breakglass apply inc-17.yaml"); err != nil {
		return err
	}
	alice, err := d.alice()
	if err != nil {
		return err
	}
	if err := d.scaled(ctx, alice); err != nil {
		return err
	}
	_, err = alice.AppsV1().Deployments(lab.Namespace).Patch(ctx, "web", types.MergePatchType, []byte(`{"spec":{"paused":true}}`), metav1.PatchOptions{})
	d.out.line("$ kubectl rollout pause deployment web")
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), string(verdict.UndeclaredField)) {
		return fmt.Errorf("the grant opened more than it says: %v", err)
	}
	d.out.bad("UndeclaredField: the grant is for scaling")
	return d.closeGrant(ctx)
}

func (d *demo) writeKey(name string, key *gitrepo.SSHKey) error {
	private, err := key.Private()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.Dir, name), []byte(private), 0o600)
}

// cli runs gitgate in the lab's directory and shows the command line; extra
// arguments hold spaces.
func (d *demo) cli(ctx context.Context, line string, extra ...string) error {
	args := append(strings.Fields(line), extra...)
	for i := 0; i+1 < len(extra); i += 2 {
		value := extra[i+1]
		if filepath.IsAbs(value) {
			value = filepath.Base(value)
		} else {
			value = fmt.Sprintf("%q", value)
		}
		line += " " + extra[i] + " " + value
	}
	d.out.line("$ gitgate %s", line)
	cmd := exec.CommandContext(ctx, d.Gitgate, args...)
	cmd.Dir = d.Dir
	cmd.Env = append(os.Environ(), "KUBECONFIG="+d.Cluster.Kubeconfig())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("gitgate %s: %w\n%s", line, err, &out)
	}
	d.said = out.String()
	return nil
}

// scaled scales by the grant and fails unless it stays so for a while.
func (d *demo) scaled(ctx context.Context, alice kubernetes.Interface) error {
	start := time.Now()
	// The replicas hear of a grant by a watch.
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 5*time.Second, true, func(ctx context.Context) (bool, error) {
		_, err := alice.AppsV1().Deployments(lab.Namespace).Patch(ctx, "web", types.MergePatchType, []byte(`{"spec":{"replicas":5}}`), metav1.PatchOptions{}, "scale")
		if apierrors.IsForbidden(err) {
			return false, nil
		}
		return err == nil, err
	})
	d.out.line("$ kubectl scale deployment web --replicas=5        # as alice")
	if err != nil {
		return fmt.Errorf("the grant did not open what it says: %w", err)
	}
	time.Sleep(time.Second) // drift is put back within a few milliseconds
	var web appsv1.Deployment
	if err := d.Client.Get(ctx, client.ObjectKey{Namespace: lab.Namespace, Name: "web"}, &web); err != nil {
		return err
	}
	if *web.Spec.Replicas != 5 {
		return errors.New("what the grant allowed was put back while it counts")
	}
	d.out.good("allowed after %.2fs, and left alone while the grant counts", time.Since(start).Seconds()-1)
	return nil
}

// closeGrant revokes the grant and fails unless Git's state comes back and the patch
// that would keep the change is told.
func (d *demo) closeGrant(ctx context.Context) error {
	var grants v1alpha1.BreakGlassList
	if err := d.Client.List(ctx, &grants); err != nil {
		return err
	}
	if len(grants.Items) != 1 {
		return fmt.Errorf("%d grants", len(grants.Items))
	}
	if err := d.cli(ctx, "breakglass revoke "+grants.Items[0].Name); err != nil {
		return err
	}
	if err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 15*time.Second, true, func(ctx context.Context) (bool, error) {
		var web appsv1.Deployment
		err := d.Client.Get(ctx, client.ObjectKey{Namespace: lab.Namespace, Name: "web"}, &web)
		return err == nil && *web.Spec.Replicas == 3, err
	}); err != nil {
		return fmt.Errorf("the change outlived its grant: %w", err)
	}
	log, err := os.ReadFile(d.server.Decisions)
	if err != nil {
		return err
	}
	if !strings.Contains(string(log), `"patch":{"spec":{"replicas":5}}`) {
		return errors.New("nobody is told what to commit to keep the change")
	}
	d.out.good("3 replicas again; the decision log has what to commit to keep the change: {\"spec\":{\"replicas\":5}}")
	return nil
}
