// Package cluster runs a real Kubernetes control plane for tests, benchmarks
// and the demo: etcd and kube-apiserver, and on request
// kube-controller-manager, kube-scheduler and simulated nodes.
//
// [New] starts one for a test and [Start] for a program. Clusters are
// independent of each other, may run in any number at once, and keep all their
// state in a temporary directory of their own. The binaries come from
// KUBEBUILDER_ASSETS, or [Binaries] builds them once from the Go modules
// pinned in test/controlplane and caches them for the user. go test counts that
// build against its timeout: run the command in prebuild beforehand.
//
// # What is real
//
// Every process is the upstream program with TLS, the Node and RBAC
// authorizers and NodeRestriction. Components hold the identities of a
// kubeadm cluster: controllers act as their own service accounts, each node
// as system:node:<name>. Two administrators exist: [Cluster.RESTConfig] is in
// system:masters, and [Alice] is an ordinary user bound to cluster-admin.
//
// # What is not
//
// Nodes run no containers: kwok reports Pods as running (see [Annotations]).
// Nothing serves exec, attach, port-forward or logs, there is no pod network,
// no DNS, and Service addresses lead nowhere, so a webhook needs a
// clientConfig with a URL. etcd does not sync to disk.
//
// # Nothing stays behind
//
// On Linux the kernel kills every process of a cluster as soon as the program
// that started it is gone, however it went; elsewhere this holds only for
// [Cluster.Stop]. The directory of a killed program is removed when the next
// cluster starts.
package cluster
