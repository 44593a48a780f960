package webhook_test

import (
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"gitgate.dev/gitgate/webhook"
	"gitgate.dev/gitgate/webhook/certs"
	"gitgate.dev/gitgate/webhook/live"
	"gitgate.dev/gitgate/webhook/lock"
	"gitgate.dev/gitgate/webhook/registration"
)

// How the parts fit together: certificates that replicas share, the owners that
// decisions need, the server, and its registration, all of them Runnables of one
// manager.
func Example() {
	wire := func(mgr manager.Manager, config *rest.Config, decider webhook.Decider, inventory *lock.Inventory, mode func() lock.Mode) error {
		const namespace, secret = "gitgate-system", "gitgate-webhook-tls"
		client := kubernetes.NewForConfigOrDie(config)
		owners, err := live.New(dynamic.NewForConfigOrDie(config))
		if err != nil {
			return err
		}
		var registrar *registration.Registrar
		authority, err := certs.NewManaged(certs.Config{
			Secrets: client.CoreV1().Secrets(namespace), Name: secret,
			Hosts:   []string{"gitgate-webhook." + namespace + ".svc"},
			Trusted: func(bundle []byte) bool { return registrar.Trusts(bundle) },
		})
		if err != nil {
			return err
		}
		ready := func() bool { return inventory.Synced() && owners.Synced() }
		decisions := webhook.NewDecisionLog(os.Stdout)
		recorder := mgr.GetEventRecorder("gitgate-webhook")
		server, err := webhook.New(webhook.Config{
			Address: ":9443", Certificates: authority, Decider: decider, Ready: ready,
			Metrics: webhook.NewMetrics(prometheus.DefaultRegisterer, webhook.Gauges{Ready: ready}),
			Events:  webhook.NewEvents(recorder, namespace), Decisions: decisions,
		})
		if err != nil {
			return err
		}
		registrar, err = registration.New(registration.Config{
			Client: client, Metadata: metadata.NewForConfigOrDie(config), Namespace: namespace, Secret: secret,
			Service: &registration.Service{Namespace: namespace, Name: "gitgate-webhook", Port: 443},
			Bundle:  authority.Bundle, Refresh: authority.Sync, Ready: ready, Mode: mode, Reached: server.Reached,
			Versions: func(schema.GroupResource) string { return "" },
			OwnPods: func() (out []registration.Template) {
				specs, _ := owners.PodSpecs(namespace) // one that cannot be read is not let run
				for _, spec := range specs {
					out = append(out, registration.TemplateOf(spec))
				}
				return out
			},
			Recorder: recorder, Metrics: prometheus.DefaultRegisterer,
		})
		if err != nil {
			return err
		}
		for _, part := range []manager.Runnable{decisions, owners, server, registrar} {
			if err := mgr.Add(part); err != nil {
				return err
			}
		}
		return mgr.AddReadyzCheck("webhook", server.CheckReady)
	}
	_ = wire
}
