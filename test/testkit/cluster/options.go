package cluster

import (
	"errors"
	"fmt"
	"io"
)

// Alice is a user who may do everything by RBAC (she is bound to
// cluster-admin), but who is not in system:masters.
const Alice = "alice"

// maxNodes bounds Options.Nodes: every node is a process of about 60 MB.
const maxNodes = 16

// Options selects what a [Cluster] consists of. The zero value is etcd and
// kube-apiserver.
type Options struct {
	// ControllerManager runs kube-controller-manager.
	ControllerManager bool
	// SharedControllerCredentials lets all controllers act as
	// system:kube-controller-manager instead of their own service accounts.
	SharedControllerCredentials bool
	// Nodes is the number of simulated nodes, named node-0, node-1 and so on;
	// at most 16. More than zero runs kube-scheduler, and
	// kube-controller-manager too, without which no node becomes schedulable.
	Nodes int

	// AuditLevel turns on the audit log at this level for every request:
	// Metadata, Request or RequestResponse. See [Cluster.AuditEvents].
	AuditLevel string
	// AuditPolicy is an audit.k8s.io/v1 Policy in YAML that replaces the
	// policy made from AuditLevel.
	AuditPolicy string
	// JSONStorage stores built-in kinds in etcd as JSON rather than protobuf.
	JSONStorage bool
	// AdmissionConfiguration is an apiserver.config.k8s.io/v1
	// AdmissionConfiguration in YAML. Paths in it must be absolute.
	AdmissionConfiguration string

	// EtcdArgs, APIServerArgs and ControllerManagerArgs are appended to the
	// command lines, so that they win over the flags set here.
	EtcdArgs, APIServerArgs, ControllerManagerArgs []string

	// Dir is where the cluster's directory is made. Empty means os.TempDir().
	Dir string
	// Progress, if not nil, is told what is being built, should binaries have
	// to be built.
	Progress io.Writer
}

// errOptions means that Options contradict themselves.
var errOptions = errors.New("cluster: invalid options")

// complete checks o and fills in what one option implies for another.
func (o Options) complete() (Options, error) {
	if o.Nodes < 0 || o.Nodes > maxNodes {
		return o, fmt.Errorf("%w: %d nodes, want 0 to %d", errOptions, o.Nodes, maxNodes)
	}
	if o.Nodes > 0 {
		o.ControllerManager = true
	}
	if o.AuditPolicy != "" {
		return o, nil
	}
	switch o.AuditLevel {
	case "":
	case "Metadata", "Request", "RequestResponse":
		o.AuditPolicy = fmt.Sprintf("apiVersion: audit.k8s.io/v1\nkind: Policy\n"+
			"omitStages: [RequestReceived]\nrules: [{level: %s}]\n", o.AuditLevel)
	default:
		return o, fmt.Errorf("%w: audit level %q", errOptions, o.AuditLevel)
	}
	return o, nil
}

// tools lists the binaries that o needs.
func (o Options) tools() []tool {
	need := []tool{etcdTool, apiServerTool}
	if o.ControllerManager {
		need = append(need, controllerManagerTool)
	}
	if o.Nodes > 0 {
		need = append(need, schedulerTool, kwokTool)
	}
	return need
}
