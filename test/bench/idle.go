package main

import (
	"context"
	"fmt"
	"time"
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
	b.say("rest: counting requests for %s", b.opts.rest)
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
		b.say("rest: %s %+v", t.name, m.count)
		all[t] = figures{m}
	}
	per := func(of func(measurement) float64) func(measurement) float64 {
		return func(m measurement) float64 { return of(m) / to.Sub(from).Minutes() }
	}
	name := fmt.Sprintf("At rest with %d objects, interval %s", b.newPlain("").objects(), restInterval)
	b.report.add(b.pair(name+": writes", "/min", all, per(writes)).exact().atMost(0))
	b.report.add(b.pair(name+": lists", "/min", all, per(lists)).exact().atMost(0))
	b.report.add(b.pair(name+": other requests (gitgate: the slow full check)", "/min", all, per(func(m measurement) float64 {
		return float64(m.count.Gets + m.count.DryRuns + m.count.Other)
	})).exact().atMost(20))
	b.report.add(b.pair(name+": events and leases", "/min", all, per(events)))
	return nil
}

// measureMemory takes the resident size of the programs with a plain site each.
func (b *bench) measureMemory(ctx context.Context) error {
	if err := b.ensurePlain(ctx); err != nil {
		return err
	}
	all := map[*tool]memory{}
	for _, t := range b.tools(0) {
		var sum memory
		for _, p := range t.procs {
			m, err := p.memory()
			if err != nil {
				return err
			}
			sum = memory{sum.resident + m.resident, sum.anonymous + m.anonymous, sum.most + m.most}
		}
		all[t] = sum
	}
	name := fmt.Sprintf("Memory with %d objects", b.newPlain("").objects())
	of := func(name string, value func(memory) float64) row {
		r := row{Name: name, Unit: "MiB"}
		for t, m := range all {
			if t == b.gitgate {
				r.Gitgate = series{value(m)}
			} else {
				r.Flux = series{value(m)}
			}
		}
		return r
	}
	b.report.add(of(name, func(m memory) float64 { return m.resident }).below())
	b.report.add(of(name+": without the pages of the program itself", func(m memory) float64 { return m.anonymous }).ratio())
	b.report.add(of(name+": at its highest", func(m memory) float64 { return m.most }).ratio())
	return nil
}
