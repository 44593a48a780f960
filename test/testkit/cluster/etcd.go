package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// ErrNoKey means that etcd does not have a key.
var ErrNoKey = errors.New("cluster: no such key in etcd")

// maxEtcdAnswer bounds what is read of one answer, in bytes.
const maxEtcdAnswer = 64 << 20

// EtcdGet returns what etcd stores under key, for example
// /registry/secrets/default/name. It wraps [ErrNoKey] if there is nothing.
func (c *Cluster) EtcdGet(ctx context.Context, key string) ([]byte, error) {
	kvs, err := c.etcdRange(ctx, etcdRequest{Key: []byte(key)})
	if err != nil {
		return nil, err
	}
	if len(kvs) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNoKey, key)
	}
	return kvs[0].Value, nil
}

// EtcdKeys returns the keys that begin with prefix, in order.
func (c *Cluster) EtcdKeys(ctx context.Context, prefix string) ([]string, error) {
	first := []byte(prefix)
	if prefix == "" {
		first = []byte{0} // etcd's way to say: from the first key
	}
	kvs, err := c.etcdRange(ctx, etcdRequest{
		Key: first, RangeEnd: prefixEnd(prefix), KeysOnly: true,
	})
	keys := make([]string, 0, len(kvs))
	for _, kv := range kvs {
		keys = append(keys, string(kv.Key))
	}
	return keys, err
}

// EtcdPut writes value under key behind the API server's back.
func (c *Cluster) EtcdPut(ctx context.Context, key string, value []byte) error {
	return c.etcdCall(ctx, "put", etcdRequest{Key: []byte(key), Value: value}, nil)
}

// EtcdDelete removes key behind the API server's back. It is no error if there
// is no such key.
func (c *Cluster) EtcdDelete(ctx context.Context, key string) error {
	return c.etcdCall(ctx, "deleterange", etcdRequest{Key: []byte(key)}, nil)
}

// EtcdEndpoint returns the URL of etcd and the TLS configuration of a client
// that may do everything.
func (c *Cluster) EtcdEndpoint() (string, *tls.Config) {
	return c.etcdPort.url(), c.etcdTLS.Clone()
}

// etcdRequest holds the fields of all requests of etcd's JSON gateway that are
// used here; byte slices travel as base64, which is what encoding/json does.
type etcdRequest struct {
	Key      []byte `json:"key"`
	Value    []byte `json:"value,omitempty"`
	RangeEnd []byte `json:"range_end,omitempty"`
	KeysOnly bool   `json:"keys_only,omitempty"`
}

type etcdKV struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

func (c *Cluster) etcdRange(ctx context.Context, req etcdRequest) ([]etcdKV, error) {
	var answer struct {
		KVs []etcdKV `json:"kvs"`
	}
	err := c.etcdCall(ctx, "range", req, &answer)
	return answer.KVs, err
}

// etcdCall uses etcd's JSON gateway, which spares the module a dependency on
// etcd's client.
func (c *Cluster) etcdCall(ctx context.Context, method string, in etcdRequest, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.etcdPort.url()+"/v3/kv/"+method, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.etcdHTTP.Do(req)
	if err != nil {
		return fmt.Errorf("etcd %s: %w", method, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxEtcdAnswer))
	if err != nil {
		return fmt.Errorf("etcd %s: %w", method, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd %s: %s: %.300s", method, resp.Status, data)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}

// prefixEnd returns the first key after all that begin with prefix.
func prefixEnd(prefix string) []byte {
	end := []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return []byte{0} // etcd's way to say: to the last key
}

// etcdClientTLS returns the configuration of a client that ca certifies.
func etcdClientTLS(ca *authority) (*tls.Config, error) {
	pair, err := ca.issue("etcd-client")
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(pair.cert, pair.key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	return &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{cert},
	}, nil
}
