package policy

import "context"

// A Compiled is a policy set that compiles. Any number of engines may share it:
// what differs between those who use the same rules is in the engine. Make one
// with [Compile].
type Compiled struct {
	name string
	sets []*set // of one name
}

// Compile compiles one set under the limits of opts. It fails with a [*LoadError]
// that depends on the set and the options alone, or with the error of ctx.
func Compile(ctx context.Context, s Set, opts Options) (*Compiled, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var bad problems
	c := compileSet(s, opts.withDefaults(), &bad)
	if err := bad.err(); err != nil {
		return nil, err
	}
	return &Compiled{s.Name, c}, nil
}

// Join makes an engine of sets that were compiled before, as [Load] does of
// sources. Of opts, what bounds evaluation counts; the rest counted when the sets
// were compiled. It fails with a [*LoadError] when two sets have one name or there
// are too many.
func Join(sets []*Compiled, opts Options) (*Engine, error) {
	var bad problems
	if len(sets) > maxSets {
		bad.add(Problem{Message: tooMany("policy sets", len(sets), maxSets)})
		return nil, bad.err()
	}
	names := make(map[string]bool, len(sets))
	joined := make([]*set, 0, len(sets))
	for _, c := range sets {
		if names[c.name] {
			bad.add(duplicate(c.name))
			continue
		}
		names[c.name] = true
		joined = append(joined, c.sets...)
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	return newEngine(joined, opts.withDefaults()), nil
}

func duplicate(name string) Problem {
	return Problem{Set: name, Message: "two policy sets have this name: rename one"}
}
