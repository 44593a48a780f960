package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	_ "net/http/pprof"
	"os"
	"path/filepath"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/policy/gate"
	found "gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook"
	"gitgate.dev/gitgate/webhook/certs"
	"gitgate.dev/gitgate/webhook/lock"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

type evaluator struct{ engine *policy.Engine }

func (e evaluator) ReadsContext() bool { return e.engine.ReadsContext() }
func (e evaluator) Evaluate(ctx context.Context, in gate.PolicyInput) []found.Finding {
	return e.engine.Evaluate(ctx, policy.Input{
		Operation: policy.Operation(in.Operation), Object: in.Object, OldObject: in.OldObject, ObjectID: in.ID,
		Commit: &policy.Commit{},
	})
}

type noSecrets struct{ gate.SecretKeeper }

type noOwners struct{}

func (noOwners) Owner(schema.GroupVersionKind, string, string, types.UID) (map[string]any, bool) {
	return nil, false
}

type judge struct{ checker gate.Checker }

func (j judge) Judge(ctx context.Context, r *admissionv1.AdmissionRequest) []found.Finding {
	return j.checker.Check(ctx, gate.Write{
		Operation: string(r.Operation), Group: r.Kind.Group, Kind: r.Kind.Kind, ID: r.Namespace + "/" + r.Kind.Kind + "/" + r.Name,
		Object: r.Object.Raw, OldObject: r.OldObject.Raw,
	})
}

func serveGitgate(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("serve-gitgate", flag.ContinueOnError)
	listen := f.String("listen", "", "`address`")
	dir := f.String("certs", "", "`directory` of the certificate")
	prof := f.String("pprof", "", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *prof != "" {
		go http.ListenAndServe(*prof, nil)
	}
	sources, err := ruleSources()
	if err != nil {
		return err
	}
	modules := map[string]string{}
	for n, s := range sources {
		modules[n+".rego"] = s
	}
	engine, err := policy.Load(ctx, []policy.Set{{Name: "rules", Modules: modules, Parameters: allParameters()}}, policy.Options{})
	if err != nil {
		return err
	}
	inv := lock.NewInventory()
	inv.SetSynced(true)
	l, err := lock.New(lock.Config{Inventory: inv, Sealer: desired.NewSealer(), Owners: noOwners{}, System: "gitgate-system", Reconciler: "a", DryRunner: "b",
		Judge: judge{gate.Checker{Policies: evaluator{engine}, Secrets: noSecrets{}, Runs: nil}}})
	if err != nil {
		return err
	}
	files, err := certs.NewFiles(certs.FilesConfig{Cert: filepath.Join(*dir, certFile), Key: filepath.Join(*dir, keyFile), CA: filepath.Join(*dir, caFile)})
	if err != nil {
		return err
	}
	dl := webhook.NewDecisionLog(os.Stdout)
	go dl.Start(ctx)
	srv, err := webhook.New(webhook.Config{Address: *listen, Certificates: files, Decider: l, Decisions: dl})
	if err != nil {
		return err
	}
	if err := srv.Start(ctx); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func (b *bench) startGitgate(ctx context.Context) (*server, error) {
	s, err := b.startSelf("gitgate", "serve-gitgate")
	if err != nil {
		return nil, err
	}
	s.path = webhook.Path
	return s, nil
}
