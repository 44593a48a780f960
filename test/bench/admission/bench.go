package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"gitgate.dev/gitgate/test/bench/internal/measure"
	"gitgate.dev/gitgate/test/testkit/cluster"
)

// A bench is one run.
type bench struct {
	measure.Teller
	ctx       context.Context
	opts      options
	dir, logs string
	place     *measure.Place // of the servers
	pool      *x509.CertPool
	cluster   *cluster.Cluster
	client    dynamic.Interface
	closers   []func()

	scenario  scenario
	policySet *unstructured.Unstructured
	templates []templated

	gitgate, gatekeeper *server
	servers             []*server // in the order of the first round
	seed                uint64
	report              *report
}

func (b *bench) onClose(f func()) { b.closers = append(b.closers, f) }

func (b *bench) close() {
	for _, f := range slices.Backward(b.closers) {
		f()
	}
}

// newBench starts all servers of a scenario. The caller closes it, also after an
// error.
func newBench(ctx context.Context, o options, site *site, s scenario, r *report) (*bench, error) {
	b := &bench{Teller: site.Teller, ctx: ctx, opts: o, place: site.place, report: r, scenario: s}
	build, progress := site.gatekeeper, site.Out
	var err error
	if b.policySet, b.templates, err = s.rules(build); err != nil {
		return b, err
	}
	if err := b.settle(); err != nil {
		return b, err
	}
	if b.pool, err = writeCertificate(b.dir); err != nil {
		return b, err
	}
	b.Say("starting an API server")
	if b.cluster, err = cluster.Start(ctx, cluster.Options{Progress: progress}); err != nil {
		return b, err
	}
	b.onClose(func() { _ = b.cluster.Stop() }) // what is left of it is in a temporary directory
	if b.client, err = dynamic.NewForConfig(b.cluster.RESTConfig()); err != nil {
		return b, err
	}
	if err := b.createNamespaces(ctx); err != nil {
		return b, err
	}
	if b.gitgate, err = b.startGitgate(ctx); err != nil {
		return b, err
	}
	b.servers = append(b.servers, b.gitgate)
	if build != nil {
		b.Say("starting Gatekeeper")
		if b.gatekeeper, err = b.startGatekeeper(ctx, build); err != nil {
			return b, err
		}
		b.servers = append(b.servers, b.gatekeeper)
	}
	for _, floor := range s.floors {
		f, err := b.startSelf(floor, "serve", "-floor="+floor)
		if err != nil {
			return b, err
		}
		f.path = "/"
		b.servers = append(b.servers, f)
	}
	if o.nice != 0 { // not before, for what runs beside us
		if err := measure.Hurry(o.nice); err != nil {
			return b, err
		}
	}
	return b, b.awaitReady()
}

// createNamespaces makes those of the reviews. Gatekeeper looks them up.
func (b *bench) createNamespaces(ctx context.Context) error {
	for _, name := range namespaces {
		u := &unstructured.Unstructured{Object: object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": name}}}
		if _, err := b.client.Resource(namespaceResource).Create(ctx, u, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// A site is what the scenarios have in common.
type site struct {
	measure.Teller
	gatekeeper *gatekeeperBuild // nil if it is left out
	place      *measure.Place   // of the servers
}

// newSite builds Gatekeeper, and then leaves one processor to the servers. The garbage
// of the load is collected rarely: it would be taken for slowness of a server.
func newSite(ctx context.Context, o options, progress io.Writer) (*site, error) {
	s := &site{Teller: measure.Teller{Out: progress, Prefix: "admission"}}
	var err error
	if !o.without {
		if s.gatekeeper, err = buildGatekeeper(ctx, s.Teller); err != nil {
			return nil, fmt.Errorf("building Gatekeeper: %w", err)
		}
	}
	cpus, err := measure.UsableCPUs()
	if err != nil {
		return nil, err
	}
	if len(cpus) < 2 {
		return nil, errors.New("one processor for the servers and one for the load are needed")
	}
	s.place = &measure.Place{CPU: cpus[0], Nice: o.nice}
	if err := measure.Confine(cpus[len(cpus)-1]); err != nil {
		return nil, err
	}
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(400)
	return s, nil
}

// settle makes directories.
func (b *bench) settle() (err error) {
	if b.opts.nice != 0 { // of the scenario before
		if err := measure.Hurry(0); err != nil {
			return err
		}
	}
	if b.dir, err = os.MkdirTemp("", "gitgate-admission-"); err != nil {
		return err
	}
	b.onClose(func() { os.RemoveAll(b.dir) })
	if b.logs = b.opts.logs; b.logs == "" {
		b.logs = b.dir
	}
	if b.logs, err = filepath.Abs(b.logs); err != nil {
		return err
	}
	return os.MkdirAll(b.logs, 0o755)
}

// start starts a server in its place. It has a second to end: Gatekeeper waits
// longer for Services than anybody here needs.
func (b *bench) start(name, path string, env []string, args ...string) (*measure.Process, error) {
	return measure.Start(measure.Program{
		Name: name, Path: path, Args: args, Env: env, Log: filepath.Join(b.logs, name+".log"), Place: b.place, Grace: time.Second,
	})
}

// startSelf starts a server that this program has in it.
func (b *bench) startSelf(name string, args ...string) (*server, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{name: name, addr: "127.0.0.1:" + ports[0], pool: b.pool}
	s.proc, err = b.start(name, self, nil, append(args, "-listen="+s.addr, "-certs="+b.dir)...)
	if err != nil {
		return nil, err
	}
	b.onClose(s.proc.Stop)
	return s, nil
}

// awaitReady waits until every server answers, and refuses what it must.
func (b *bench) awaitReady() error {
	for _, s := range b.servers {
		err := await(b.ctx, s.name+" to refuse what the rules refuse", func(ctx context.Context) (bool, error) {
			select {
			case <-s.proc.Done():
				return false, errors.New("it has ended")
			default:
			}
			// Later readiness is proven by comparing every answer.
			reviews, err := b.reviews(b.scenario.workloads[0], 40)
			if err != nil {
				return false, err
			}
			got, err := s.run(ctx, reviews, 1)
			if err != nil {
				return false, nil // not listening, or not ready
			}
			denied := 0
			for _, a := range got.answers {
				if v, err := readVerdict(a); err == nil && !v.allowed && !v.late {
					denied++
				}
			}
			some := denied > 0 && denied < len(reviews) // not all: it must have read the rules
			return some || denied == 0 && s.name == bareEnvelope, nil
		})
		if err != nil {
			return s.proc.Explain(err)
		}
	}
	return nil
}

// reviews makes reviews that nobody has seen.
func (b *bench) reviews(w workload, n int) ([][]byte, error) {
	b.seed++
	return newGenerator(b.seed).reviews(w, n)
}

// run measures round by round.
func (b *bench) run(ctx context.Context) error {
	for _, w := range b.scenario.workloads { // caches, pools and heaps find their size
		if err := b.round(ctx, w, 64, b.opts.reviews/2, -1); err != nil {
			return err
		}
	}
	for round := range b.opts.rounds {
		b.Say("%s: round %d of %d", b.scenario.name, round+1, b.opts.rounds)
		for _, w := range b.scenario.workloads {
			if err := b.round(ctx, w, 64, b.opts.reviews, round); err != nil {
				return err
			}
			if err := b.round(ctx, w, 1, max(b.opts.reviews/2, 100), round); err != nil {
				return err
			}
		}
	}
	for _, s := range b.servers {
		m, err := s.proc.Memory()
		if err != nil {
			return err
		}
		b.report.memory(b.scenario.name, s.name, m.Resident, m.Anonymous)
	}
	return nil
}

// round puts the same reviews to every server in turn. A negative round is not
// recorded. All but the floors must agree on each review.
func (b *bench) round(ctx context.Context, w workload, concurrency, n, round int) error {
	reviews, err := b.reviews(w, n)
	if err != nil {
		return err
	}
	order := slices.Clone(b.servers)
	if round%2 == 1 {
		slices.Reverse(order)
	}
	var want []verdict
	for _, s := range order {
		got, err := s.run(ctx, reviews, concurrency)
		if err != nil {
			return s.proc.Explain(fmt.Errorf("%s: %w", s.name, err))
		}
		if s.name != bareEnvelope {
			if want, err = b.compare(s, got.answers, want); err != nil {
				return err
			}
		}
		if round >= 0 {
			b.report.record(s.name, w, concurrency, got)
		}
	}
	return nil
}

// maxLate bounds the reviews that a server fails to judge within its own limits.
const maxLate = 20

// compare holds answers against those of the server before. Text that another
// server words in its own way has been taken away.
func (b *bench) compare(s *server, answers [][]byte, want []verdict) ([]verdict, error) {
	got := make([]verdict, len(answers))
	for i, a := range answers {
		var err error
		if got[i], err = readVerdict(a); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		if got[i].late {
			b.report.Late[s.name]++
			if b.report.Late[s.name] > maxLate {
				return nil, fmt.Errorf("%s could not judge more than %d reviews in time", s.name, maxLate)
			}
			continue
		}
		if want != nil && !want[i].late && got[i] != want[i] {
			return nil, fmt.Errorf("%s judges review %d in another way: %+v, and another server %+v", s.name, i, got[i], want[i])
		}
	}
	if want == nil {
		b.report.count(got)
	}
	return got, nil
}

// freePorts finds ports that nobody listens on.
func freePorts(n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		out = append(out, strings.TrimPrefix(l.Addr().String(), "127.0.0.1:"))
	}
	return out, nil
}
