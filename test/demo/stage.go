package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// A demo is a lab with what the acts hand on to each other.
type demo struct {
	*lab.Lab
	out    *transcript
	server *lab.Server

	image  string          // the repository of web
	secret string          // its encrypted Secret
	good   plumbing.Hash   // the commit that is live
	digest string          // of the image that is live after the first act
	carol  *gitrepo.SSHKey // signs grants, with Bob
	said   string          // by the last command
}

var syncKey = client.ObjectKey{Namespace: lab.SystemNamespace, Name: lab.SyncName}

func (d *demo) begin(ctx context.Context) (err error) {
	d.out.line("%s", "starting gitgate serve")
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if d.server, err = d.Serve(ctx, lab.LockArgs()...); err != nil {
		return err
	}
	if err := d.trustGrants(ctx); err != nil {
		return err
	}
	sync := d.GitSync()
	sync.Spec.Wait = true
	return d.Client.Create(ctx, sync)
}

func (d *demo) showCommit(hash plumbing.Hash, c gitrepo.Change) {
	d.out.line("$ git push        # %.12s %q by %s", hash, c.Message, d.author(c))
}

func (d *demo) author(c gitrepo.Change) string {
	name, signed := c.Author.Name, "unsigned"
	if name == "" {
		name = d.Alice.Person().Name
	}
	if c.Sign != nil || c.Author == (gitrepo.Person{}) {
		signed = "signed"
	}
	return name + ", " + signed
}

// accept commits, and fails unless the commit goes live.
func (d *demo) accept(ctx context.Context, c gitrepo.Change) error {
	hash, err := d.Commit(c)
	if err != nil {
		return err
	}
	d.showCommit(hash, c)
	start := time.Now()
	if err := d.Poke(ctx, syncKey); err != nil {
		return err
	}
	s, err := d.Await(ctx, syncKey, func(s *v1alpha1.GitSync) bool {
		return strings.HasSuffix(s.Status.LastAppliedRevision, hash.String()) && lab.Ready(s).Status == metav1.ConditionTrue
	})
	if err != nil {
		return err
	}
	d.good = hash
	d.out.good("Ready after %.1fs: %s", time.Since(start).Seconds(), lab.Ready(s).Message)
	return nil
}

// refuse commits, and fails unless the commit is quarantined for the reason while
// the last good release runs on. Then it takes the commit back.
func (d *demo) refuse(ctx context.Context, reason verdict.Reason, c gitrepo.Change) error {
	before, err := d.generations(ctx)
	if err != nil {
		return err
	}
	hash, err := d.Commit(c)
	if err != nil {
		return err
	}
	d.showCommit(hash, c)
	if err := d.Poke(ctx, syncKey); err != nil {
		return err
	}
	s, err := d.Await(ctx, syncKey, func(s *v1alpha1.GitSync) bool {
		return strings.HasSuffix(s.Status.LastAttemptedRevision, hash.String()) && lab.Ready(s).Status == metav1.ConditionFalse
	})
	if err != nil {
		return err
	}
	if got := lab.Ready(s).Reason; got != string(reason) {
		return fmt.Errorf("quarantined for %s instead of %s: %s", got, reason, lab.Ready(s).Message)
	}
	for _, f := range s.Status.LastVerdict.Findings {
		d.out.bad("%s: %s%s", f.Reason, place(f), f.Message)
	}
	if strings.Contains(fmt.Sprint(s.Status), canary) {
		return errors.New("the status holds a secret")
	}
	if !strings.HasSuffix(s.Status.LastAppliedRevision, d.good.String()) {
		return fmt.Errorf("the last applied revision is %s", s.Status.LastAppliedRevision)
	}
	after, err := d.generations(ctx)
	if err != nil {
		return err
	}
	if before != after {
		return fmt.Errorf("the live objects changed: %s, then %s", before, after)
	}
	d.out.good("nothing changed in the cluster: %.12s is still live", d.good)
	return d.Repo.SetRef("refs/heads/"+lab.Branch, d.good) // nobody need carry a bad commit along
}

func place(f v1alpha1.FindingStatus) string {
	if f.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", f.File, f.Line)
}

// generations names the live objects in the state in which they are.
func (d *demo) generations(ctx context.Context) (string, error) {
	var web appsv1.Deployment
	if err := d.Client.Get(ctx, client.ObjectKey{Namespace: lab.Namespace, Name: "web"}, &web); err != nil {
		return "", err
	}
	var secrets corev1.SecretList
	if err := d.Client.List(ctx, &secrets, client.InNamespace(lab.Namespace)); err != nil {
		return "", err
	}
	state := fmt.Sprintf("Deployment/web generation %d", web.Generation)
	for _, s := range secrets.Items {
		state += fmt.Sprintf(", Secret/%s %s", s.Name, s.ResourceVersion)
	}
	return state, nil
}

// running fails unless the Deployment and the Secret are live as told.
func (d *demo) running(ctx context.Context, digest string, replicas int32) error {
	var web appsv1.Deployment
	if err := d.Client.Get(ctx, client.ObjectKey{Namespace: lab.Namespace, Name: "web"}, &web); err != nil {
		return err
	}
	image := web.Spec.Template.Spec.Containers[0].Image
	if !strings.HasSuffix(image, "@"+digest) || web.Status.AvailableReplicas != replicas {
		return fmt.Errorf("web runs %s with %d available replicas, want digest %s and %d", image, web.Status.AvailableReplicas, digest, replicas)
	}
	var secret corev1.Secret
	if err := d.Client.Get(ctx, client.ObjectKey{Namespace: lab.Namespace, Name: "web"}, &secret); err != nil {
		return err
	}
	if string(secret.Data["password"]) != canary {
		return errors.New("the Secret does not hold what was encrypted")
	}
	if d.digest == "" {
		d.digest = digest
	}
	d.out.good("Deployment/web: %d of %d available, image pinned to the verified %.19s…", web.Status.AvailableReplicas, replicas, digest)
	d.out.good("Secret/web: decrypted on its way to the cluster")
	return nil
}

// manualEdits edits as cluster-admin and fails unless each edit is undone.
func (d *demo) manualEdits(ctx context.Context) error {
	for _, edit := range []struct{ what, patch string }{
		{"kubectl scale deployment web --replicas=7", `{"spec":{"replicas":7}}`},
		{"kubectl label deployment web team=shadow-it", `{"metadata":{"labels":{"team":"shadow-it"}}}`},
		{"kubectl patch deployment web      # add a sidecar", `{"spec":{"template":{"spec":{"containers":[{"name":"miner","image":"evil.example.com/miner"}]}}}}`},
	} {
		web := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: lab.Namespace, Name: "web"}}
		start := time.Now()
		if err := d.Client.Patch(ctx, web, client.RawPatch("application/strategic-merge-patch+json", []byte(edit.patch)), client.FieldOwner("kubectl")); err != nil {
			return err
		}
		d.out.line("$ %s", edit.what)
		if err := d.restored(ctx, web); err != nil {
			return fmt.Errorf("%s: %w", edit.what, err)
		}
		d.out.good("put back to what Git says after %.2fs", time.Since(start).Seconds())
	}
	return nil
}

func (d *demo) restored(ctx context.Context, web *appsv1.Deployment) error {
	return wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		if err := d.Client.Get(ctx, client.ObjectKeyFromObject(web), web); err != nil {
			return false, err
		}
		_, labelled := web.Labels["team"]
		return *web.Spec.Replicas == 2 && !labelled && len(web.Spec.Template.Spec.Containers) == 1, nil
	})
}
