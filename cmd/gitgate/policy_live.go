package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/verdict"
)

// policyLive holds the flags of eval that name a cluster.
type policyLive struct {
	on                             bool
	kubeconfig, context, namespace string
	kinds                          []string
}

func (o *policyLive) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.on, "live", false, "judge what is in a cluster")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "`FILE` to reach the cluster of --live with; empty means as kubectl finds it")
	f.StringVar(&o.context, "context", "", "`NAME` of the context in the kubeconfig; empty means the current one")
	f.StringVarP(&o.namespace, "namespace", "n", "", "`NAMESPACE` to look at; by default all of them, and what is in none")
	f.StringSliceVar(&o.kinds, "kinds", nil, "`KIND[.GROUP],…` to look at; by default all that can be listed but events and leases")
	_ = cmd.MarkFlagFilename("kubeconfig") // fails for flags that do not exist alone
}

func (o *policyLive) check() error {
	if !o.on && (o.kubeconfig+o.context+o.namespace != "" || len(o.kinds) > 0) {
		return errors.New("--kubeconfig, --context, --namespace and --kinds are of --live: give it too")
	}
	return nil
}

// open reaches the cluster.
func (o *policyLive) open() (objectSource, error) {
	quiet()
	d := doctorOptions{kubeconfig: o.kubeconfig, context: o.context}
	config, err := d.restConfig()
	if err != nil {
		return nil, fmt.Errorf("--live: %w", err)
	}
	found, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("--live: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("--live: %w", err)
	}
	return func(ctx context.Context, judge func(policy.Input) error) ([]verdict.Finding, error) {
		l := &liveObjects{options: o, client: client, judge: judge, namespaces: map[string][]byte{}}
		return l.run(ctx, found)
	}, nil
}

// liveObjects lists the objects of a cluster.
type liveObjects struct {
	options    *policyLive
	client     dynamic.Interface
	judge      func(policy.Input) error
	namespaces map[string][]byte // as JSON; nil for those that cannot be read
	problems   []verdict.Finding
}

// pageSize is how many objects are asked for at once.
const pageSize = 500

// tooBusy are kinds of which there are thousands that nobody judges, unless they
// are asked for.
var tooBusy = []schema.GroupKind{{Kind: "Event"}, {Group: "events.k8s.io", Kind: "Event"}, {Group: "coordination.k8s.io", Kind: "Lease"}}

func (l *liveObjects) run(ctx context.Context, found discovery.DiscoveryInterface) ([]verdict.Finding, error) {
	lists, err := found.ServerPreferredResources()
	if err != nil && len(lists) == 0 {
		return nil, fmt.Errorf("--live: asking the cluster for its kinds: %w", err)
	}
	if err != nil { // some group did not answer
		l.undetermined("kinds", err)
	}
	kinds, err := l.options.choose(lists)
	if err != nil {
		return nil, err
	}
	for _, k := range kinds {
		if err := l.list(ctx, k); err != nil {
			return nil, err
		}
	}
	return l.problems, nil
}

// A liveKind is a resource that can be listed.
type liveKind struct {
	schema.GroupVersionResource
	kind       schema.GroupKind
	namespaced bool
}

// choose picks the kinds to look at.
func (o *policyLive) choose(lists []*metav1.APIResourceList) ([]liveKind, error) {
	var out []liveKind
	wanted := map[string]bool{}
	for _, k := range o.kinds {
		wanted[k] = false
	}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, fmt.Errorf("--live: %w", err)
		}
		for _, r := range list.APIResources {
			kind := schema.GroupKind{Group: cmp.Or(r.Group, gv.Group), Kind: r.Kind}
			if strings.Contains(r.Name, "/") || !slices.Contains(r.Verbs, "list") || o.namespace != "" && !r.Namespaced {
				continue
			}
			if len(o.kinds) > 0 {
				name := kind.String()
				if _, ok := wanted[name]; !ok {
					continue
				}
				wanted[name] = true
			} else if slices.Contains(tooBusy, kind) {
				continue
			}
			out = append(out, liveKind{gv.WithResource(r.Name), kind, r.Namespaced})
		}
	}
	for name, there := range wanted {
		if !there {
			return nil, fmt.Errorf("--kinds %s: the cluster has no such kind that can be listed here: write it as KIND, or KIND.GROUP, as in Deployment.apps", name)
		}
	}
	slices.SortFunc(out, func(a, b liveKind) int { return strings.Compare(a.kind.String(), b.kind.String()) })
	return out, nil
}

// list hands on the objects of a kind, page by page.
func (l *liveObjects) list(ctx context.Context, k liveKind) error {
	var resource dynamic.ResourceInterface = l.client.Resource(k.GroupVersionResource)
	if l.options.namespace != "" {
		resource = l.client.Resource(k.GroupVersionResource).Namespace(l.options.namespace)
	}
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := resource.List(ctx, options)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			l.undetermined(k.kind.String(), err)
			return nil
		}
		for i := range page.Items {
			if err := l.object(ctx, k, &page.Items[i]); err != nil {
				return err
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

func (l *liveObjects) object(ctx context.Context, k liveKind, u *unstructured.Unstructured) error {
	u.SetManagedFields(nil) // nobody wrote these, and they are the larger half
	raw, err := json.Marshal(u.Object)
	if err != nil {
		return fmt.Errorf("%s %s/%s: %w", k.kind, u.GetNamespace(), u.GetName(), err)
	}
	in := policy.Input{Operation: policy.Create, Object: raw, None: policy.PartCommit | policy.PartSource}
	if k.namespaced {
		in.Namespace = l.namespace(ctx, u.GetNamespace())
	} else {
		in.None |= policy.PartNamespace
	}
	return l.judge(in)
}

// namespace reads a Namespace once. One that cannot be read is not known.
func (l *liveObjects) namespace(ctx context.Context, name string) []byte {
	if raw, ok := l.namespaces[name]; ok {
		return raw
	}
	var raw []byte
	ns, err := l.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(ctx, name, metav1.GetOptions{})
	if err == nil {
		ns.SetManagedFields(nil)
		raw, _ = json.Marshal(ns.Object) // it was JSON a moment ago
	}
	l.namespaces[name] = raw
	return raw
}

// undetermined notes what could not be looked at.
func (l *liveObjects) undetermined(what string, err error) {
	if meta.IsNoMatchError(err) {
		return
	}
	l.problems = append(l.problems, verdict.Finding{
		Reason: verdict.SourceUnavailable, Severity: verdict.Undetermined, Object: what,
		Message: "could not be listed, so nothing is known of it: " + oneLine(err),
	})
}
