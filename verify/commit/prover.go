package commit

import (
	"runtime"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
)

// A prover verifies signatures on all processors while commits are read. What
// waits in it is bounded, and so is the memory that raw commits take.
type prover struct {
	v    *Verifier
	jobs chan proveJob
	wg   sync.WaitGroup
}

type proveJob struct {
	node   *node
	hash   plumbing.Hash
	commit *commitObject
}

func newProver(v *Verifier) *prover {
	n := runtime.GOMAXPROCS(0)
	p := &prover{v: v, jobs: make(chan proveJob, 4*n)}
	for range n {
		p.wg.Go(func() {
			for j := range p.jobs {
				rec := p.v.prove(j.hash, j.commit)
				*j.node = node{rec: rec}
			}
		})
	}
	return p
}

// prove sets the record of n in the background; see wait.
func (p *prover) prove(n *node, h plumbing.Hash, c *commitObject) { p.jobs <- proveJob{n, h, c} }

// wait returns when every node is set.
func (p *prover) wait() {
	close(p.jobs)
	p.wg.Wait()
}
