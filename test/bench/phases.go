package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gitgate.dev/gitgate/test/bench/internal/measure"
)

// figures are the measurements of one tool, round by round.
type figures []measurement

func (f figures) series(of func(measurement) float64) measure.Series {
	out := make(measure.Series, len(f))
	for i, m := range f {
		out[i] = of(m)
	}
	return out
}

func seconds(m measurement) float64  { return m.seconds }
func live(m measurement) float64     { return m.live }
func cpu(m measurement) float64      { return m.cpu }
func share(m measurement) float64    { return 100 * m.outside }
func requests(m measurement) float64 { return float64(m.count.Total) }
func writes(m measurement) float64   { return float64(m.count.Writes) }
func dryRuns(m measurement) float64  { return float64(m.count.DryRuns) }
func lists(m measurement) float64    { return float64(m.count.Lists) }
func other(m measurement) float64    { return float64(m.count.Gets + m.count.DryRuns + m.count.Other) }
func events(m measurement) float64   { return float64(m.count.Events + m.count.Leases) }

// pair prepares a row from the figures of both tools.
func (b *bench) pair(name, unit string, all map[*tool]figures, of func(measurement) float64) row {
	return row{Name: name, Unit: unit, Gitgate: all[b.gitgate].series(of), Flux: all[b.flux].series(of)}
}

// ensurePlain has each tool keep a plain site, if none does yet.
func (b *bench) ensurePlain(ctx context.Context) error {
	for _, t := range b.tools(0) {
		if b.plain[t] != nil {
			continue
		}
		s := newSite("plain-"+strings.ToLower(t.name), plain, b.opts.objects)
		if _, err := b.start(ctx, t, s); err != nil {
			return err
		}
		b.plain[t] = s
	}
	return nil
}

// measureFirst applies sites for the first time. The plain sites of the last round stay.
func (b *bench) measureFirst(ctx context.Context) error {
	if err := b.applyFirst(ctx, plainFlat, "ConfigMaps"); err != nil {
		return err
	}
	return b.applyFirst(ctx, plain, "objects")
}

func (b *bench) applyFirst(ctx context.Context, l layout, what string) error {
	all := map[*tool]figures{}
	var floor, both measure.Series
	for round := range b.opts.rounds {
		asked, bare, err := b.bareFirst(ctx, l, round)
		if err != nil {
			return err
		}
		floor, both = append(floor, bare), append(both, asked+bare)
		for _, t := range b.tools(round) {
			s := newSite(fmt.Sprintf("first-%s-%s-%d", l, strings.ToLower(t.name), round), l, b.opts.objects)
			m, err := b.start(ctx, t, s)
			if err != nil {
				return err
			}
			b.Say("first %s, round %d: %s %.2f s (CPU %.2f s), %d requests; bare dry run %.2f s, bare apply %.2f s", what, round+1, t.name, m.seconds, m.cpu, m.count.Total, asked, bare)
			all[t] = append(all[t], m)
			if l == plain && round == b.opts.rounds-1 {
				b.plain[t] = s
				continue
			}
			if err := b.discard(ctx, t, s); err != nil {
				return err
			}
		}
	}
	b.firstRows(fmt.Sprintf("First apply of %d %s", b.newPlain("").objects(), what), all, floor, both)
	return nil
}

func (b *bench) firstRows(name string, all map[*tool]figures, floor, both measure.Series) {
	took := b.pair(name, "s", all, seconds)
	took.Floor, took.FloorName = floor, "bare apply"
	b.report.add(took.faster(3))
	took.Name, took.Floor, took.FloorName = name+": beside a dry run and an apply of each", both, "bare dry run and apply"
	if b.gitgate != nil {
		took = took.ratioToFloor()
	}
	if b.flux != nil {
		took.Ratio += " (Flux " + measure.Number(took.Flux.Per(both).Median()) + "×)"
	}
	b.report.add(took)
	b.report.add(b.pair(name+": time without a request under way", "%", all, share).atMost(15))
	b.report.add(b.pair(name+": processor time", "s", all, cpu).ratio())
	b.report.add(b.pair(name+": requests", "", all, requests).ratio())
	b.report.add(b.pair(name+": of these dry runs", "", all, dryRuns))
}

func (b *bench) newPlain(name string) *site { return newSite(name, plain, b.opts.objects) }

// bareFirst applies a site bare, after a bare dry run of it, and removes it.
func (b *bench) bareFirst(ctx context.Context, l layout, round int) (asked, applied float64, err error) {
	s := newSite(fmt.Sprintf("bare-%s-%d", l, round), l, b.opts.objects)
	if err := b.world.namespace(ctx, s.name); err != nil {
		return 0, 0, err
	}
	objects, err := s.decode()
	if err != nil {
		return 0, 0, err
	}
	asking, err := bareApply(ctx, b.world.cluster.RESTConfig(), objects, true)
	if err != nil {
		return 0, 0, err
	}
	applying, err := bareApply(ctx, b.world.cluster.RESTConfig(), objects, false)
	if err != nil {
		return 0, 0, err
	}
	return asking.Seconds(), applying.Seconds(), b.world.empty(ctx, s)
}

// measureChange changes one object of a plain site.
func (b *bench) measureChange(ctx context.Context) error {
	if err := b.ensurePlain(ctx); err != nil {
		return err
	}
	bare := b.newPlain("bare-change")
	if err := b.world.namespace(ctx, bare.name); err != nil {
		return err
	}
	all := map[*tool]figures{}
	var floor measure.Series
	for round := range b.opts.rounds {
		took, err := b.bareChange(ctx, bare, round)
		if err != nil {
			return err
		}
		floor = append(floor, took)
		if err := b.changeRound(ctx, "change", round, b.plain, all); err != nil {
			return err
		}
	}
	b.changeRows(fmt.Sprintf("One of %d objects changed, plain YAML", b.newPlain("").objects()), all, floor, "bare apply of it", 20)
	return nil
}

// changeRound changes one object of each tool's site.
func (b *bench) changeRound(ctx context.Context, what string, round int, sites map[*tool]*site, all map[*tool]figures) error {
	for _, t := range b.tools(round) {
		m, err := b.change(ctx, t, sites[t])
		if err != nil {
			return err
		}
		b.Say("%s, round %d: %s %.3f s (live after %.3f s, CPU %.2f s), %d requests: %+v", what, round+1, t.name, m.seconds, m.live, m.cpu, m.count.Total, m.count)
		all[t] = append(all[t], m)
	}
	return nil
}

// bareChange applies one object that exists with another value.
func (b *bench) bareChange(ctx context.Context, s *site, round int) (float64, error) {
	for _, value := range []int{2 * round, 2*round + 1} {
		s.change(0, value)
		objects, err := s.decode()
		if err != nil {
			return 0, err
		}
		one := objects[1:2] // its ConfigMap
		took, err := bareApply(ctx, b.world.cluster.RESTConfig(), one, false)
		if err != nil || value%2 == 1 {
			return took.Seconds(), err
		}
	}
	return 0, nil
}

func (b *bench) changeRows(name string, all map[*tool]figures, floor measure.Series, floorName string, goal float64) {
	time := b.pair(name, "s", all, seconds)
	time.Floor, time.FloorName = floor, floorName
	b.report.add(time.faster(goal))
	b.report.add(b.pair(name+": until it is live", "s", all, live).ratio())
	b.report.add(b.pair(name+": processor time", "s", all, cpu).ratio())
	b.report.add(b.pair(name+": requests", "", all, requests).ratio())
	b.report.add(b.pair(name+": writes", "", all, writes).exact().atMost(2))
	b.report.add(b.pair(name+": dry runs", "", all, dryRuns))
	b.report.add(b.pair(name+": events and leases", "", all, events))
}

// measureKustomize changes one object of a kustomize site, of each kind.
func (b *bench) measureKustomize(ctx context.Context) error {
	if err := b.changeKustomize(ctx, kustomizeFlat, "kustomize of ConfigMaps"); err != nil {
		return err
	}
	return b.changeKustomize(ctx, kustomize, "kustomize of workloads")
}

func (b *bench) changeKustomize(ctx context.Context, l layout, what string) error {
	sites := map[*tool]*site{}
	for _, t := range b.tools(0) {
		s := newSite(string(l)+"-"+strings.ToLower(t.name), l, b.opts.objects)
		if _, err := b.start(ctx, t, s); err != nil {
			return err
		}
		sites[t] = s
	}
	all := map[*tool]figures{}
	var floor measure.Series
	for round := range b.opts.rounds {
		s := sites[b.tools(0)[0]]
		files := s.tree()
		start := time.Now()
		if _, err := s.build(files); err != nil {
			return err
		}
		floor = append(floor, time.Since(start).Seconds())
		if err := b.changeRound(ctx, what, round, sites, all); err != nil {
			return err
		}
	}
	b.changeRows(fmt.Sprintf("One of %d objects changed, %s", b.newPlain("").objects(), what), all, floor, "bare build", 5)
	for t, s := range sites {
		if err := b.discard(ctx, t, s); err != nil {
			return err
		}
	}
	return nil
}

// scaleTurns is how often the sites take turns within a round: what is compared takes
// well below a tenth of a second, and differs by less than a single one varies.
const scaleTurns = 10

// measureScale changes one object in a site, and in one of a tenth of its size.
func (b *bench) measureScale(ctx context.Context) error {
	if b.gitgate == nil {
		return nil
	}
	if err := b.ensurePlain(ctx); err != nil {
		return err
	}
	t := b.gitgate
	small := newSite("small-gitgate", plain, b.opts.objects/10)
	if _, err := b.start(ctx, t, small); err != nil {
		return err
	}
	var few, many figures
	for round := range b.opts.rounds * scaleTurns {
		for i := range 2 {
			s, into := small, &few
			if (i+round)%2 == 1 {
				s, into = b.plain[t], &many
			}
			m, err := b.change(ctx, t, s)
			if err != nil {
				return err
			}
			*into = append(*into, m)
		}
	}
	name := fmt.Sprintf("One object changed, of %d against of %d", b.plain[t].objects(), small.objects())
	compare := func(what string, of func(measurement) float64) row {
		return row{Name: name + what, Unit: "s", Gitgate: many.series(of), Floor: few.series(of),
			FloorName: fmt.Sprintf("of %d objects", small.objects())}
	}
	b.report.add(compare("", seconds).within(1.5))
	b.report.add(compare(": until it is live", live).ratioToFloor())
	b.report.add(compare(": processor time", cpu).ratioToFloor())
	return b.discard(ctx, t, small)
}
