package webhook_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"gitgate.dev/gitgate/webhook"
)

// BenchmarkServer measures reviews of about 10 kB over one HTTP/2 connection,
// client included, with a decider that allows.
func BenchmarkServer(b *testing.B) {
	l := newLone(b, nil)
	client := l.client(nil)
	body := []byte(review(`{"metadata":{"name":"db"},"data":{"a":"` + strings.Repeat("c2VjcmV0", 1200) + `"}}`))
	b.SetBytes(int64(len(body)))
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := client.Post(l.url+webhook.Path, "application/json", bytes.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				b.Error(resp.Status)
				return
			}
		}
	})
}
