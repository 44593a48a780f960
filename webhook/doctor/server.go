package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/version"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var (
	// oldest is where ValidatingAdmissionPolicies became stable.
	oldest = utilversion.MustParseGeneric("1.30.0")
	// manifests is where policies can be read from files, which nobody can delete
	// through the API.
	manifests = utilversion.MustParseGeneric("1.37.0")
)

const (
	skewWarn = 5 * time.Second // grants and certificates allow for as much
	skewFail = time.Minute

	maxVersionBody = 64 << 10
)

// server checks what the API server is and can, and whether its clock agrees with
// ours.
func (d *doctor) server(ctx context.Context) []Check {
	const what = "the API server"
	info, skew, err := d.version(ctx)
	if err != nil {
		return []Check{unknown("api-server-version", what, err), unknown("clock-skew", what, err), d.policies()}
	}
	return []Check{versionCheck(info), skewCheck(skew), d.policies()}
}

// version asks for the version, and takes the time by the way. A server's Date has
// whole seconds: half a second is added for those that it cut off.
func (d *doctor) version(ctx context.Context) (info version.Info, skew time.Duration, err error) {
	target, err := url.JoinPath(d.discovery.RESTClient().Get().URL().String(), "/version")
	if err != nil {
		return info, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return info, 0, err
	}
	before := d.Now()
	resp, err := d.http.Do(req)
	if err != nil {
		return info, 0, err
	}
	defer resp.Body.Close()
	after := d.Now()
	if resp.StatusCode != http.StatusOK {
		return info, 0, fmt.Errorf("/version answers %s", resp.Status)
	}
	there, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return info, 0, fmt.Errorf("its answer has no date: %w", err)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxVersionBody)).Decode(&info); err != nil {
		return info, 0, fmt.Errorf("/version: %w", err)
	}
	here := before.Add(after.Sub(before) / 2)
	return info, here.Sub(there.Add(time.Second / 2)), nil
}

func versionCheck(info version.Info) Check {
	c := Check{ID: "api-server-version", Status: OK, Message: clean(info.GitVersion)}
	v, err := utilversion.ParseGeneric(info.GitVersion)
	switch {
	case err != nil:
		c.Status, c.Message = Unknown, fmt.Sprintf("the version %q cannot be read", info.GitVersion)
	case v.LessThan(oldest):
		c.Status = Fail
		c.Message += ": ValidatingAdmissionPolicies, which hold the account for dry runs, are stable from 1.30 on"
		c.Advice = "upgrade the cluster"
	case v.LessThan(manifests):
		c.Message += ": whoever may write webhook configurations can take the lock off until it is restored"
		c.Advice = "from 1.37 on deploy/static-policies keeps them from it"
	}
	return c
}

func skewCheck(skew time.Duration) Check {
	c := Check{ID: "clock-skew", Status: OK, Message: fmt.Sprintf("the API server's clock and this one differ by %s", skew.Abs().Round(time.Second))}
	switch abs := skew.Abs(); {
	case abs > skewFail:
		c.Status = Fail
	case abs > skewWarn:
		c.Status = Warn
	default:
		return c
	}
	c.Advice = "set both clocks by NTP: certificates and break-glass grants begin and end by them"
	return c
}

// policies checks that the API server serves ValidatingAdmissionPolicies.
func (d *doctor) policies() Check {
	const id, group = "admission-policies", "admissionregistration.k8s.io/v1"
	list, err := d.discovery.ServerResourcesForGroupVersion(group)
	if err != nil {
		return unknown(id, "what "+group+" serves", err)
	}
	for _, r := range list.APIResources {
		if r.Name == "validatingadmissionpolicies" {
			return Check{ID: id, Status: OK, Message: "the API server evaluates ValidatingAdmissionPolicies"}
		}
	}
	return Check{ID: id, Status: Fail, Message: "the API server has no ValidatingAdmissionPolicies: nothing holds the account for dry runs",
		Advice: "upgrade the cluster, or turn the API " + group + " on"}
}

// witnesses are accounts that kube-controller-manager makes when each controller
// acts as its own.
var witnesses = []string{"deployment-controller", "replicaset-controller", "generic-garbage-collector"}

// identities checks that controllers act as accounts of their own. With one shared
// identity, whoever can act as one controller can act as all of them.
func (d *doctor) identities(ctx context.Context) []Check {
	const id = "controller-identities"
	var lease coordinationv1.Lease
	err := d.client.Get(ctx, client.ObjectKey{Namespace: controlPlane, Name: controllerIdentity}, &lease)
	if absent(err) {
		return []Check{{ID: id, Status: Unknown, Message: "kube-controller-manager has no lease in kube-system: it cannot be told as whom it acts",
			Advice: "see that it runs with --use-service-account-credentials=true"}}
	}
	if err != nil {
		return []Check{unknown(id, "the lease of kube-controller-manager", err)}
	}
	for _, name := range witnesses {
		var account corev1.ServiceAccount
		err := d.client.Get(ctx, client.ObjectKey{Namespace: controlPlane, Name: name}, &account)
		if err == nil {
			return []Check{{ID: id, Status: OK, Message: "controllers act as service accounts of their own"}}
		}
		if !absent(err) {
			return []Check{unknown(id, "the service accounts of controllers", err)}
		}
	}
	return []Check{{ID: id, Status: Warn, Message: "all controllers act as system:kube-controller-manager: what is open to one of them is open to all",
		Advice: "run kube-controller-manager with --use-service-account-credentials=true"}}
}
