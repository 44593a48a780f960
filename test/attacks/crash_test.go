package main_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	rbacv1 "k8s.io/api/rbac/v1"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// crashes is how often gitgate is killed.
const crashes = 25

// TestCrash kills gitgate at random moments while releases of about forty objects
// flow that add, change and remove objects. However it dies, every object that is
// live is on the inventory, so that nothing is orphaned; and at the end exactly
// what Git declares is live.
func TestCrash(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := newCrashing(t, rand.New(rand.NewPCG(seed, 0)))
	during := 0
	for i := range crashes {
		c.release()
		server := c.start()
		if c.crash(server) {
			during++
		}
		c.nothingOrphaned(i)
	}
	t.Logf("%d of %d crashes came while a release was being applied", during, crashes)
	if during < crashes/5 {
		t.Errorf("only %d of %d crashes came while a release was being applied: this shows little", during, crashes)
	}
	c.start()
	c.awaitApplied()
	c.liveIsDeclared()
}

type crashing struct {
	*lab.Lab
	t        *testing.T
	rand     *rand.Rand
	declared map[string]string // manifests by file
	head     plumbing.Hash
	sync     client.ObjectKey
	takes    time.Duration // from the first write of a release to the last, as last seen
}

func newCrashing(t *testing.T, r *rand.Rand) *crashing {
	t.Helper()
	binary, err := builtBinary()
	if err != nil {
		t.Fatal(err)
	}
	c := &crashing{Lab: lab.New(t, lab.Options{Gitgate: binary, Cluster: cluster.Options{}}), t: t, rand: r, declared: map[string]string{}}
	sync := c.GitSync()
	sync.Spec.Interval.Duration = time.Hour
	sync.Spec.DeletionBudget = &intstr.IntOrString{Type: intstr.String, StrVal: "100%"}
	if err := c.Client.Create(t.Context(), sync); err != nil {
		t.Fatal(err)
	}
	c.sync = client.ObjectKeyFromObject(sync)
	c.release()
	started := time.Now()
	server := c.start()
	c.awaitApplied()
	c.takes = time.Since(started)
	server.Kill()
	return c
}

// kinds are the objects that come and go, each by name and content.
var kinds = []func(name string, content int) string{
	func(name string, n int) string { return lab.ConfigMap(name, "content", fmt.Sprint(n)) },
	func(name string, n int) string {
		return fmt.Sprintf("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: %s\n  annotations: {content: \"%d\"}\n", name, n)
	},
	func(name string, n int) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata:\n  name: %s\n  annotations: {content: \"%d\"}\nspec:\n  selector: {app: x}\n  ports: [{port: 80}]\n", name, n)
	},
	func(name string, n int) string {
		return fmt.Sprintf("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: %s\n  annotations: {content: \"%d\"}\nrules: []\n", name, n)
	},
}

// release commits a release of 35 to 45 objects, out of 60 that there may be. About
// a third of them change, come or go.
func (c *crashing) release() {
	c.t.Helper()
	change := gitrepo.Change{Files: map[string]string{}}
	for i := range 60 {
		name := fmt.Sprintf("object-%d", i)
		file := "deploy/" + name + ".yaml"
		_, exists := c.declared[file]
		switch wanted := c.rand.IntN(3) > 0; {
		case exists && c.rand.IntN(3) > 0: // stays as it is
		case wanted:
			c.declared[file] = kinds[i%len(kinds)](name, c.rand.IntN(1e6))
			change.Files[file] = c.declared[file]
		case exists:
			delete(c.declared, file)
			change.Delete = append(change.Delete, file)
		}
	}
	var err error
	if c.head, err = c.Commit(change); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crashing) start() *lab.Server {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	server, err := c.Serve(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	return server
}

// crash kills gitgate: every third time at any moment, otherwise once it has begun
// to write the release. It reports whether the release was being written.
func (c *crashing) crash(server *lab.Server) (during bool) {
	c.t.Helper()
	if c.rand.IntN(3) > 0 {
		for deadline := time.Now().Add(patience); !c.writing(c.current()); {
			if time.Now().After(deadline) {
				c.t.Fatalf("release %s was never begun:\n%s", c.head, server.LogTail(4<<10))
			}
		}
		time.Sleep(time.Duration(c.rand.Int64N(int64(60 * time.Millisecond))))
	} else {
		time.Sleep(time.Duration(c.rand.Int64N(int64(c.takes))))
	}
	server.Kill()
	s := c.current()
	return c.writing(s) && s.Status.LastAppliedRevision != revision(c.head)
}

// writing reports whether the release was begun or is done.
func (c *crashing) writing(s *v1alpha1.GitSync) bool {
	if s.Status.LastAppliedRevision == revision(c.head) {
		return true
	}
	r := apimeta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReconciling)
	return r != nil && r.Message == "applying "+revision(c.head)
}

func (c *crashing) current() *v1alpha1.GitSync {
	c.t.Helper()
	var s v1alpha1.GitSync
	if err := c.Client.Get(c.t.Context(), c.sync, &s); err != nil {
		c.t.Fatal(err)
	}
	return &s
}

func (c *crashing) awaitApplied() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if _, err := c.Await(ctx, c.sync, func(s *v1alpha1.GitSync) bool {
		return s.Status.LastAppliedRevision == revision(c.head) && lab.Ready(s).Status == metav1.ConditionTrue
	}); err != nil {
		c.t.Fatal(err)
	}
}

// live lists the objects in the namespace, as inventories name them. Those that
// the control plane makes by itself are left out.
func (c *crashing) live(labelled bool) (ids []string) {
	c.t.Helper()
	for _, list := range []client.ObjectList{&corev1.ConfigMapList{}, &corev1.ServiceAccountList{}, &corev1.ServiceList{}, &rbacv1.RoleList{}} {
		if err := c.Client.List(c.t.Context(), list, client.InNamespace(lab.Namespace)); err != nil {
			c.t.Fatal(err)
		}
		items, err := apimeta.ExtractList(list)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, item := range items {
			o := item.(client.Object)
			gvk, err := c.Client.GroupVersionKindFor(o)
			if err != nil {
				c.t.Fatal(err)
			}
			ours := o.GetLabels()[v1alpha1.NameLabel] == lab.SyncName && o.GetLabels()[v1alpha1.NamespaceLabel] == lab.SystemNamespace
			if labelled && !ours {
				continue
			}
			if !ours && (o.GetName() == "kube-root-ca.crt" || o.GetName() == "default") {
				continue
			}
			ids = append(ids, fmt.Sprintf("%s_%s_%s_%s", lab.Namespace, o.GetName(), gvk.Group, gvk.Kind))
		}
	}
	slices.Sort(ids)
	return ids
}

func (c *crashing) inventory() (ids []string) {
	c.t.Helper()
	for e := range c.current().Status.Inventory.Objects() {
		ids = append(ids, e.ID)
	}
	slices.Sort(ids)
	return ids
}

// nothingOrphaned requires that the inventory knows every object that is live.
func (c *crashing) nothingOrphaned(i int) {
	c.t.Helper()
	inventory := c.inventory()
	for _, id := range c.live(true) {
		if _, known := slices.BinarySearch(inventory, id); !known {
			c.t.Errorf("crash %d: %s is live and on no inventory", i, id)
		}
	}
}

// liveIsDeclared requires that Git, the cluster and the inventory agree.
func (c *crashing) liveIsDeclared() {
	c.t.Helper()
	var want []string
	for file, manifest := range c.declared {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "deploy/"), ".yaml")
		kind, _, _ := strings.Cut(manifest[strings.Index(manifest, "kind: ")+len("kind: "):], "\n")
		group := ""
		if strings.HasPrefix(manifest, "apiVersion: rbac") {
			group = rbacv1.GroupName
		}
		want = append(want, fmt.Sprintf("%s_%s_%s_%s", lab.Namespace, name, group, kind))
	}
	slices.Sort(want)
	if len(want) < 20 {
		c.t.Errorf("only %d objects are declared: this shows little", len(want))
	}
	if diff := cmp.Diff(want, c.live(false)); diff != "" {
		c.t.Errorf("declared (-) and live (+) objects differ:\n%s", diff)
	}
	if diff := cmp.Diff(want, c.inventory()); diff != "" {
		c.t.Errorf("declared (-) objects and the inventory (+) differ:\n%s", diff)
	}
	for file, manifest := range c.declared {
		if !strings.Contains(manifest, "kind: ConfigMap") {
			continue
		}
		var m corev1.ConfigMap
		name := strings.TrimSuffix(strings.TrimPrefix(file, "deploy/"), ".yaml")
		if err := c.Client.Get(c.t.Context(), client.ObjectKey{Namespace: lab.Namespace, Name: name}, &m); err != nil {
			c.t.Error(err)
		} else if !strings.Contains(manifest, fmt.Sprintf("content: %q", m.Data["content"])) {
			c.t.Errorf("%s holds %q, and Git says\n%s", name, m.Data["content"], manifest)
		}
	}
}
