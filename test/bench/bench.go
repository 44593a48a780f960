package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// warmUpObjects is the size of a site that each tool applies before anything is
// measured, so that nobody pays for discovery and schemas.
const warmUpObjects = 40

// trailing is how long after its report a tool's requests are still counted.
const trailing = time.Second

// A bench is one run.
type bench struct {
	measure.Teller

	opts    options
	world   *world
	gitgate *tool // nil if it is left out
	flux    *tool // likewise
	report  *report

	plain  map[*tool]*site // what most phases work on
	values int             // the last value that a change used
}

// A phase is something that is measured.
type phase struct {
	name string
	run  func(*bench, context.Context) error
}

// phases are in the order in which they run: what ends an interval of an hour
// comes late.
var phases = []phase{
	{"first", (*bench).measureFirst},
	{"change", (*bench).measureChange},
	{"kustomize", (*bench).measureKustomize},
	{"scale", (*bench).measureScale},
	{"rest", (*bench).measureRest},
	{"drift", (*bench).measureDrift},
	{"memory", (*bench).measureMemory},
	{"policy", (*bench).measurePolicy},
	{"resync", (*bench).measureResync}, // starts gitgate anew
}

func phaseNames() []string {
	var names []string
	for _, p := range phases {
		names = append(names, p.name)
	}
	return names
}

func newBench(ctx context.Context, o options, progress io.Writer) (_ *bench, err error) {
	b := &bench{Teller: measure.Teller{Out: progress, Prefix: "bench"}, opts: o, report: newReport(o), plain: map[*tool]*site{}}
	var flux *peer
	if o.without != "flux" {
		if flux, err = buildPeer(ctx, b.Teller); err != nil {
			return nil, fmt.Errorf("building Flux: %w", err)
		}
	}
	if b.world, err = newWorld(ctx, o.logs, progress); err != nil {
		return nil, err
	}
	if err := b.populate(ctx, flux); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// populate installs what the tools need and starts them.
func (b *bench) populate(ctx context.Context, flux *peer) error {
	root, err := measure.Root()
	if err != nil {
		return err
	}
	var dirs []string
	users := map[string]string{}
	if b.opts.without != "gitgate" {
		dirs = append(dirs, filepath.Join(root, "deploy", "crds"))
		users["gitgate"] = gitgateNamespace
	}
	if flux != nil {
		dirs = append(dirs, flux.crds...)
		users["flux"] = fluxNamespace
	}
	for _, dir := range dirs {
		if err := b.world.install(ctx, dir); err != nil {
			return err
		}
	}
	for user, namespace := range users {
		if err := errors.Join(b.world.admit(ctx, user), b.world.namespace(ctx, namespace)); err != nil {
			return err
		}
	}
	if b.opts.without != "gitgate" {
		if b.gitgate, err = newGitgate(ctx, b.world, b.opts.gitgate); err != nil {
			return err
		}
	}
	if flux != nil {
		b.flux, err = newFlux(b.world, flux)
	}
	return err
}

// close ends all programs. It may be called on half a bench.
func (b *bench) close() error {
	for _, t := range []*tool{b.gitgate, b.flux} {
		if t != nil {
			t.stop()
		}
	}
	return b.world.close()
}

// tools are those that take part, in an order that turns with the round.
func (b *bench) tools(round int) []*tool {
	list := []*tool{b.gitgate, b.flux}
	if round%2 == 1 {
		slices.Reverse(list)
	}
	return slices.DeleteFunc(list, func(t *tool) bool { return t == nil })
}

func (b *bench) runPhases(ctx context.Context) error {
	if err := b.warmUp(ctx); err != nil {
		return b.explain(err)
	}
	for _, p := range phases {
		if b.opts.only != "" && !slices.Contains(strings.Split(b.opts.only, ","), p.name) {
			continue
		}
		b.Say("%s", p.name)
		if err := p.run(b, ctx); err != nil {
			return b.explain(fmt.Errorf("%s: %w", p.name, err))
		}
		if err := b.world.audit.forget(); err != nil {
			return err
		}
	}
	return nil
}

// explain adds the ends of the logs to an error, before they are removed.
func (b *bench) explain(err error) error {
	var text []string
	for _, t := range b.tools(0) {
		for _, p := range t.procs {
			text = append(text, p.Tail())
		}
	}
	return fmt.Errorf("%w\n%s", err, strings.Join(text, "\n"))
}

func (b *bench) warmUp(ctx context.Context) error {
	b.Say("warming up")
	for _, t := range b.tools(0) {
		s := newSite("warm-"+strings.ToLower(t.name), plain, warmUpObjects)
		if _, err := b.start(ctx, t, s); err != nil {
			return err
		}
		if err := b.discard(ctx, t, s); err != nil {
			return err
		}
	}
	return nil
}

// A measurement is what one step of one tool cost.
type measurement struct {
	from    time.Time
	seconds float64 // until the tool reported success
	live    float64 // until the cluster was as Git says
	cpu     float64 // processor time, in seconds
	outside float64 // share of the time without a request under way
	count   count
}

// start publishes a site and has a tool apply it for the first time.
func (b *bench) start(ctx context.Context, t *tool, s *site) (measurement, error) {
	if err := b.world.namespace(ctx, s.name); err != nil {
		return measurement{}, err
	}
	if err := t.publish(ctx, s); err != nil {
		return measurement{}, err
	}
	return b.measure(ctx, t, t.begin, s)
}

// discard ends a site and removes its objects.
func (b *bench) discard(ctx context.Context, t *tool, s *site) error {
	if err := t.end(ctx, s); err != nil {
		return err
	}
	return b.world.empty(ctx, s)
}

// measure tells a tool what to do and waits until it reports the site as
// applied. The clock starts when the API server has accepted what it was told.
func (b *bench) measure(ctx context.Context, t *tool, tell func(context.Context, *site) error, s *site) (measurement, error) {
	before, err := t.cpu()
	if err != nil {
		return measurement{}, err
	}
	told := time.Now()
	if err := tell(ctx, s); err != nil {
		return measurement{}, err
	}
	from := time.Now()
	if err := t.awaitApplied(ctx, s); err != nil {
		return measurement{}, err
	}
	to := time.Now()
	after, err := t.cpu()
	if err != nil {
		return measurement{}, err
	}
	events, err := b.world.audit.between(ctx, t.user, told, to.Add(trailing))
	if err != nil {
		return measurement{}, err
	}
	return measurement{
		from: from, seconds: to.Sub(from).Seconds(), cpu: after - before,
		outside: outside(events, from, to), count: countRequests(events),
	}, nil
}

// change changes one object of a published site and waits until it has arrived.
func (b *bench) change(ctx context.Context, t *tool, s *site) (measurement, error) {
	b.values++
	configMap, want := s.change(b.values%s.apps, b.values)
	if err := t.publish(ctx, s); err != nil {
		return measurement{}, err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var arrived time.Time
	failed := make(chan error, 1)
	go func() {
		objects := b.world.client.Resource(configMaps).Namespace(s.name)
		failed <- await(watching, objects, configMap, "the change to arrive", func(u *unstructured.Unstructured) (bool, error) {
			if u == nil {
				return false, nil
			}
			value, _, _ := unstructured.NestedString(u.Object, "data", "value")
			arrived = time.Now()
			return value == want, nil
		})
	}()
	m, err := b.measure(ctx, t, t.driver.announce, s)
	if err != nil {
		return m, err
	}
	if err := <-failed; err != nil {
		return m, err
	}
	m.live = max(0, arrived.Sub(m.from).Seconds())
	return m, nil
}
