package cluster

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
)

// stages is what the simulated kubelets do; see its comments.
//
//go:embed stages.yaml
var stages []byte

// Annotations of a Pod that change what its simulated kubelet does. Set them
// in the Pod template of a workload.
const (
	// ReadyAnnotation with the value "false" leaves the Pod running but never
	// ready, as a failing readiness probe does.
	ReadyAnnotation = "cluster.test/ready"
	// WaitingAnnotation leaves the Pod pending; the value is the reason its
	// containers wait, for example ImagePullBackOff or CrashLoopBackOff.
	WaitingAnnotation = "cluster.test/waiting"
)

// serviceCIDR is where Services get their addresses from.
const serviceCIDR = "10.96.0.0/16"

// in returns the path of a file in the cluster's directory.
func (c *Cluster) in(name string) string { return filepath.Join(c.dir.path, name) }

// write puts a file into the cluster's directory.
func (c *Cluster) write(name string, data []byte) error {
	return os.WriteFile(c.in(name), data, 0o600)
}

func (c *Cluster) etcdCommand() command {
	client, peer := c.etcdPort.url(), c.peerPort.url()
	return c.command(Etcd, c.bin.Etcd, append([]string{
		"--name=test", "--data-dir=" + c.in("etcd.data"), "--log-level=warn",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=test=" + peer, "--socket-reuse-port=true",
		"--client-cert-auth", "--trusted-ca-file=" + c.in("ca.crt"),
		"--cert-file=" + c.in("server.crt"), "--key-file=" + c.in("server.key"),
		"--peer-client-cert-auth", "--peer-trusted-ca-file=" + c.in("ca.crt"),
		"--peer-cert-file=" + c.in("server.crt"), "--peer-key-file=" + c.in("server.key"),
		// Durability against power failure is nothing to a temporary
		// directory; small snapshots keep memory small.
		"--unsafe-no-fsync", "--snapshot-count=2000",
	}, c.opts.EtcdArgs...))
}

func (c *Cluster) apiServerCommand() (command, error) {
	args := []string{
		"--etcd-servers=" + c.etcdPort.url(), "--etcd-cafile=" + c.in("ca.crt"),
		"--etcd-certfile=" + c.in("server.crt"), "--etcd-keyfile=" + c.in("server.key"),
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		"--secure-port=" + c.apiPort.String(), "--permit-port-sharing=true",
		// Endpoints may not be loopback addresses.
		"--endpoint-reconciler-type=none",
		"--tls-cert-file=" + c.in("server.crt"), "--tls-private-key-file=" + c.in("server.key"),
		"--client-ca-file=" + c.in("ca.crt"),
		"--requestheader-client-ca-file=" + c.in("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + c.in("front-proxy.crt"),
		"--proxy-client-key-file=" + c.in("front-proxy.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.in("sa.pub"),
		"--service-account-signing-key-file=" + c.in("sa.key"),
		"--service-cluster-ip-range=" + serviceCIDR,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		// Priority and fairness stays on, with seats enough for a benchmark.
		"--max-requests-inflight=4000", "--max-mutating-requests-inflight=2000",
	}
	if c.opts.AuditPolicy != "" {
		if err := c.write("audit-policy.yaml", []byte(c.opts.AuditPolicy)); err != nil {
			return command{}, err
		}
		args = append(args, "--audit-policy-file="+c.in("audit-policy.yaml"),
			"--audit-log-path="+c.AuditLog(), "--audit-log-mode=blocking",
			"--audit-log-maxsize=100000") // MB; a rotated log would hide requests
	}
	if c.opts.JSONStorage {
		args = append(args, "--storage-media-type=application/json")
	}
	if c.opts.AdmissionConfiguration != "" {
		if err := c.write("admission.yaml", []byte(c.opts.AdmissionConfiguration)); err != nil {
			return command{}, err
		}
		args = append(args, "--admission-control-config-file="+c.in("admission.yaml"))
	}
	return c.command(APIServer, c.bin.APIServer, append(args, c.opts.APIServerArgs...)), nil
}

func (c *Cluster) controllerManagerCommand() (command, error) {
	kubeconfig, err := c.componentKubeconfig(ControllerManager, "system:kube-controller-manager")
	if err != nil {
		return command{}, err
	}
	return c.command(ControllerManager, c.bin.ControllerManager, append([]string{
		"--kubeconfig=" + kubeconfig, "--secure-port=0",
		fmt.Sprintf("--use-service-account-credentials=%t", !c.opts.SharedControllerCredentials),
		"--service-account-private-key-file=" + c.in("sa.key"), "--root-ca-file=" + c.in("ca.crt"),
		"--cluster-signing-cert-file=" + c.in("ca.crt"), "--cluster-signing-key-file=" + c.in("ca.key"),
		"--kube-api-qps=500", "--kube-api-burst=1000",
	}, c.opts.ControllerManagerArgs...)), nil
}

func (c *Cluster) schedulerCommand() (command, error) {
	kubeconfig, err := c.componentKubeconfig(Scheduler, "system:kube-scheduler")
	if err != nil {
		return command{}, err
	}
	return c.command(Scheduler, c.bin.Scheduler, []string{
		"--kubeconfig=" + kubeconfig, "--secure-port=0",
		"--kube-api-qps=500", "--kube-api-burst=1000",
	}), nil
}

// nodeCommand runs one kwok for one node, so that it can act as that node.
func (c *Cluster) nodeCommand(i int) (command, error) {
	name := Node(i)
	kubeconfig, err := c.componentKubeconfig(name, "system:node:"+string(name), "system:nodes")
	if err != nil {
		return command{}, err
	}
	if err := c.write("stages.yaml", stages); err != nil {
		return command{}, err
	}
	return c.command(name, c.bin.Kwok, []string{
		"--kubeconfig=" + kubeconfig, "--config=" + c.in("stages.yaml"),
		"--manage-all-nodes=false", "--manage-single-node=" + string(name),
		"--node-ip=127.0.0.1", "--node-name=" + string(name),
		fmt.Sprintf("--cidr=10.244.%d.0/24", i), "--node-lease-duration-seconds=40",
	}), nil
}

func (c *Cluster) command(name Process, path string, args []string) command {
	return command{name: name, path: path, args: args, dir: c.dir.path}
}

// componentKubeconfig writes the kubeconfig of a component.
func (c *Cluster) componentKubeconfig(name Process, user string, groups ...string) (string, error) {
	path := c.in(string(name) + ".kubeconfig")
	return path, c.KubeconfigFor(path, user, groups...)
}
