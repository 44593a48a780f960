package cluster

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// mastersGroup is above authorization.
const mastersGroup = "system:masters"

// RESTConfig returns the configuration of an administrator in system:masters.
// Like every configuration of this package it sets no client-side rate limit.
func (c *Cluster) RESTConfig() *rest.Config { return rest.CopyConfig(c.admin) }

// ConfigFor returns the configuration of a client that authenticates by
// certificate as user in groups. It grants nothing: bind what the user may do.
func (c *Cluster) ConfigFor(user string, groups ...string) *rest.Config {
	cfg, err := c.configFor(user, groups...)
	if err != nil {
		panic(fmt.Sprintf("cluster: certifying %s: %v", user, err)) // only for want of randomness
	}
	return cfg
}

func (c *Cluster) configFor(user string, groups ...string) (*rest.Config, error) {
	pair, err := c.pki.ca.issue(user, groups...)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host:      c.apiPort.url(),
		UserAgent: "cluster.test/" + user,
		QPS:       -1, // off: the server does its own fair queueing
		TLSClientConfig: rest.TLSClientConfig{
			CAData: c.pki.ca.pem, CertData: pair.cert, KeyData: pair.key,
		},
	}, nil
}

// Kubeconfig returns the path of a kubeconfig file that holds what RESTConfig
// returns. It is gone when the cluster stops.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.dir.path, "admin.kubeconfig") }

// KubeconfigFor writes a kubeconfig file for ConfigFor(user, groups...) to
// path.
func (c *Cluster) KubeconfigFor(path, user string, groups ...string) error {
	cfg, err := c.configFor(user, groups...)
	if err != nil {
		return err
	}
	return writeKubeconfig(path, user, cfg)
}

func writeKubeconfig(path, user string, cfg *rest.Config) error {
	const name = "test"
	data, err := clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{name: {
			Server: cfg.Host, CertificateAuthorityData: cfg.CAData,
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{user: {
			ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData,
		}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: user}},
		CurrentContext: name,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
