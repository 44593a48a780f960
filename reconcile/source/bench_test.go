package source_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/reconcile/source"
	"gitgate.dev/gitgate/test/testkit/gitserver"
)

// BenchmarkFetchOneCommit measures a fetch of a one-line change, against the
// size of the repository, and one without a change.
func BenchmarkFetchOneCommit(b *testing.B) {
	for _, files := range []int{100, 1000, 5000} {
		s := gitserver.New(b, gitserver.Options{})
		up := newUpstream(b, s, "a.git")
		for i := range files {
			up.write(fmt.Sprintf("d%02d/f%d.yaml", i%50, i), strings.Repeat(fmt.Sprintf("key%d: %d\n", i, i*7919), 30))
		}
		up.push()
		r := open(b, openCache(b, b.TempDir()), source.Options{URL: s.URL("a.git")})
		start := time.Now()
		fetch(b, r)
		b.Logf("%d files: the first fetch took %s", files, time.Since(start))
		b.Run(fmt.Sprintf("Changed/files=%d", files), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				up.push()
				b.StartTimer()
				if !fetch(b, r).Changed {
					b.Fatal("no change")
				}
			}
		})
		b.Run(fmt.Sprintf("AtRest/files=%d", files), func(b *testing.B) {
			for b.Loop() {
				fetch(b, r)
			}
		})
	}
}
