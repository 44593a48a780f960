package source

import (
	"cmp"
	"fmt"
)

// Limits bound what a remote may send. A field that is zero takes its default.
type Limits struct {
	// PackBytes bounds one pack on the wire, in bytes; at most 2 GiB. Default
	// 512 MiB. A clone that has grown to twice that is fetched afresh.
	PackBytes int64
	// Objects bounds the objects of one pack. Default 1,000,000.
	Objects int
	// ObjectBytes bounds one inflated object and one delta, in bytes. Default
	// 32 MiB. Memory use is a small multiple of it.
	ObjectBytes int64
	// InflatedBytes bounds all that is inflated to index one pack, in bytes.
	// Default 32 GiB: a long history of large directories compresses a
	// hundredfold and more. It costs time, not memory.
	InflatedBytes int64
	// DeltaDepth bounds a chain of deltas. Default 512; git makes 50.
	DeltaDepth int
	// Refs bounds the references that a remote may list. Default 100,000.
	Refs int
	// Tags bounds the rollback tags of a repository. Default 256.
	Tags int
}

const (
	// maxPackBytes keeps every offset of a pack within 31 bits, so that an
	// index needs no second table (gitformat-pack(5)).
	maxPackBytes = 1<<31 - 1
	// maxObjectBytes is the largest ObjectBytes, and what a reader of the
	// store takes for possible.
	maxObjectBytes = 1 << 30
	// maxDeltaDepth is git's own ceiling for a chain (pack-objects).
	maxDeltaDepth = 4095
	// maxChainBytes bounds the work of reading one object: the sizes of all
	// objects in its chain of deltas.
	maxChainBytes = 1 << 30
	// maxTagBytes bounds a rollback tag's object.
	maxTagBytes = 1 << 20
	// refBytes is what one listed reference may take at most on average.
	refBytes = 1 << 10
)

func (l Limits) withDefaults() (Limits, error) {
	l = Limits{
		PackBytes:     cmp.Or(l.PackBytes, 512<<20),
		Objects:       cmp.Or(l.Objects, 1_000_000),
		ObjectBytes:   cmp.Or(l.ObjectBytes, 32<<20),
		InflatedBytes: cmp.Or(l.InflatedBytes, 32<<30),
		DeltaDepth:    cmp.Or(l.DeltaDepth, 512),
		Refs:          cmp.Or(l.Refs, 100_000),
		Tags:          cmp.Or(l.Tags, 256),
	}
	for name, v := range map[string]struct{ value, ceiling int64 }{
		"PackBytes": {l.PackBytes, maxPackBytes}, "Objects": {int64(l.Objects), 1 << 26},
		"ObjectBytes": {l.ObjectBytes, maxObjectBytes}, "InflatedBytes": {l.InflatedBytes, 1 << 50},
		"DeltaDepth": {int64(l.DeltaDepth), maxDeltaDepth}, "Refs": {int64(l.Refs), 1 << 24}, "Tags": {int64(l.Tags), 1 << 16},
	} {
		if v.value < 1 || v.value > v.ceiling {
			return Limits{}, fmt.Errorf("limit %s is %d, want 1 to %d", name, v.value, v.ceiling)
		}
	}
	return l, nil
}
