package main

import (
	"context"
	"fmt"
	"time"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// restInterval is how often the tools look for work at rest.
const restInterval = 30 * time.Second

// shortIntervals sets the interval of the plain sites to restInterval.
func (b *bench) shortIntervals(ctx context.Context) error {
	if err := b.ensurePlain(ctx); err != nil {
		return err
	}
	for _, t := range b.tools(0) {
		if err := t.setInterval(ctx, b.plain[t], restInterval); err != nil {
			return err
		}
	}
	return sleep(ctx, 3*time.Second) // until the change of the interval is dealt with
}

// measureRest counts requests while nothing happens.
func (b *bench) measureRest(ctx context.Context) error {
	if err := b.shortIntervals(ctx); err != nil {
		return err
	}
	from := time.Now()
	b.Say("rest: counting requests for %s", b.opts.rest)
	if err := sleep(ctx, b.opts.rest); err != nil {
		return err
	}
	to := time.Now()
	all := map[*tool]figures{}
	for _, t := range b.tools(0) {
		events, err := b.world.audit.between(ctx, t.user, from, to)
		if err != nil {
			return err
		}
		m := measurement{count: countRequests(events)}
		b.Say("rest: %s %+v", t.name, m.count)
		all[t] = figures{m}
	}
	per := func(of func(measurement) float64) func(measurement) float64 {
		return func(m measurement) float64 { return of(m) / to.Sub(from).Minutes() }
	}
	name := fmt.Sprintf("At rest with %d objects, interval %s", b.newPlain("").objects(), restInterval)
	b.report.add(b.pair(name+": writes", "/min", all, per(writes)).exact().atMost(0))
	b.report.add(b.pair(name+": lists", "/min", all, per(lists)).exact().atMost(0))
	b.report.add(b.pair(name+": other requests", "/min", all, per(other)).exact().atMost(20))
	b.report.add(b.pair(name+": events and leases", "/min", all, per(events)))
	return nil
}

// measureResync counts requests while gitgate's slow full check lasts, which comes
// once an hour: it is started anew with an interval that makes it go on for ever.
func (b *bench) measureResync(ctx context.Context) error {
	if b.gitgate == nil {
		return nil
	}
	if err := b.ensurePlain(ctx); err != nil {
		return err
	}
	t, s := b.gitgate, b.plain[b.gitgate]
	t.procs[0].Stop()
	p, err := startGitgate(b.world, b.opts.gitgate, "--resync-interval", time.Second.String())
	if err != nil {
		return err
	}
	t.procs = []*measure.Process{p}
	if _, err := b.change(ctx, t, s); err != nil { // it has taken up the site again
		return err
	}
	if err := sleep(ctx, 3*time.Second); err != nil {
		return err
	}
	from := time.Now()
	b.Say("resync: counting requests for %s", b.opts.rest)
	if err := sleep(ctx, b.opts.rest); err != nil {
		return err
	}
	to := time.Now()
	events, err := b.world.audit.between(ctx, t.user, from, to)
	if err != nil {
		return err
	}
	m := figures{{count: countRequests(events)}}
	b.Say("resync: %+v", m[0].count)
	if m[0].count.Gets == 0 {
		return fmt.Errorf("nothing was checked within %s", b.opts.rest)
	}
	name := fmt.Sprintf("At rest with %d objects, while the slow full check lasts", s.objects())
	for _, part := range []struct {
		what string
		of   func(measurement) float64
		goal float64
	}{{"writes", writes, 0}, {"lists", lists, 0}, {"other requests", other, 20}} {
		r := row{Name: name + ": " + part.what, Unit: "/min", Gitgate: m.series(func(m measurement) float64 {
			return part.of(m) / to.Sub(from).Minutes()
		})}
		b.report.add(r.exact().atMost(part.goal))
	}
	return nil
}

// measureMemory takes the resident size of the programs with a plain site each.
func (b *bench) measureMemory(ctx context.Context) error {
	if err := b.ensurePlain(ctx); err != nil {
		return err
	}
	all := map[*tool]measure.Memory{}
	for _, t := range b.tools(0) {
		var sum measure.Memory
		for _, p := range t.procs {
			m, err := p.Memory()
			if err != nil {
				return err
			}
			sum = measure.Memory{Resident: sum.Resident + m.Resident, Anonymous: sum.Anonymous + m.Anonymous, Most: sum.Most + m.Most}
		}
		all[t] = sum
	}
	name := fmt.Sprintf("Memory with %d objects", b.newPlain("").objects())
	of := func(name string, value func(measure.Memory) float64) row {
		r := row{Name: name, Unit: "MiB"}
		for t, m := range all {
			if t == b.gitgate {
				r.Gitgate = measure.Series{value(m)}
			} else {
				r.Flux = measure.Series{value(m)}
			}
		}
		return r
	}
	b.report.add(of(name, func(m measure.Memory) float64 { return m.Resident }).below())
	b.report.add(of(name+": without the pages of the program itself", func(m measure.Memory) float64 { return m.Anonymous }).ratio())
	b.report.add(of(name+": at its highest", func(m measure.Memory) float64 { return m.Most }).ratio())
	return nil
}
