package source

import (
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

const (
	// tidyPacks is the number of packs beyond which small ones are merged.
	tidyPacks = 16
	// tooManyPacks is the number at which the clone is fetched afresh; it is
	// reached only if packs cannot be merged.
	tooManyPacks = 64
)

// outgrown reports whether the store is better replaced than added to.
func (c *clone) outgrown(l Limits) bool {
	packs := c.view()
	total := int64(0)
	for _, p := range packs {
		total += p.size
	}
	return total > 2*l.PackBytes || len(packs) >= tooManyPacks
}

// receive indexes the pack in src and adds it to the store; with fresh, in
// place of all that the store has. If it fails the store is as it was. The lock
// must be held.
func (c *clone) receive(ctx context.Context, src io.Reader, l Limits, fresh bool) error {
	has := func(plumbing.Hash) bool { return false }
	if !fresh {
		o := c.objects()
		has = func(h plumbing.Hash) bool { return o.HasEncodedObject(h) == nil }
	}
	temp, err := os.CreateTemp(c.tempDir(), "fetch-")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // gone already if all went well
	defer closeQuietly(temp)
	x, err := indexPack(ctx, src, temp, l, has)
	if err != nil {
		return err
	}
	if x.len() == 0 {
		return nil
	}
	p, err := c.store(temp.Name(), x)
	if err != nil {
		return err
	}
	if fresh {
		return c.replace(nil, p)
	}
	return c.replace(c.view(), p)
}

// store moves a pack and its index into place, where they do not count until
// the manifest names them.
func (c *clone) store(temp string, x *index) (*pack, error) {
	name := packName(x.sum[:])
	if err := os.Rename(temp, filepath.Join(c.packDir(), name+packSuffix)); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(c.tempDir(), "index-")
	if err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(c.packDir(), name+indexSuffix), file, x.encode(), false); err != nil {
		return nil, err
	}
	return openPack(c.packDir(), name, false)
}

// replace makes keep and p the store's packs and removes the files of all
// others.
func (c *clone) replace(keep []*pack, p *pack) error {
	packs := []*pack{p}
	for _, k := range keep {
		if k.name != p.name {
			packs = append(packs, k)
		}
	}
	if err := c.writeManifest(packs); err != nil {
		return err
	}
	c.install(packs)
	var names []string
	for _, k := range packs {
		names = append(names, k.name)
	}
	return c.sweep(names)
}

// writeFile gives a file new content, whole or not at all, by way of a temporary
// file, which it closes. With durable, the content is there after a power
// failure as well.
func writeFile(path string, temp *os.File, content []byte, durable bool) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp.Name()))
		}
	}()
	_, err = temp.Write(content)
	if err == nil && durable {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	if !durable {
		return nil
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// tidy merges small packs when there are many, so that a lookup stays cheap
// after thousands of fetches. A pack is copied again only once the merged ones
// weigh about as much as it does. The lock must be held.
func (c *clone) tidy() error {
	packs := slices.Clone(c.view())
	if len(packs) <= tidyPacks {
		return nil
	}
	slices.SortFunc(packs, func(a, b *pack) int { return cmp.Compare(a.size, b.size) })
	var merge, keep []*pack
	total := int64(0)
	for i, p := range packs {
		small := p.size < 2*total || len(packs)-i > tidyPacks/2
		refs, err := p.hasRefDeltas()
		if err != nil {
			c.damaged.Store(true)
			return err
		}
		if !small || refs || total+p.size > maxPackBytes {
			keep = append(keep, p)
			continue
		}
		merge, total = append(merge, p), total+p.size
	}
	if len(merge) < 2 {
		return nil
	}
	p, err := c.merge(merge)
	if err != nil {
		return err
	}
	return c.replace(keep, p)
}

// hasRefDeltas reports whether a delta of the pack names its base by hash. Such
// a pack is not merged: with the same object in two places, bases might end up
// in a circle.
func (p *pack) hasRefDeltas() (bool, error) {
	for _, at := range p.offsets {
		kind, _, _, _, err := p.header(at)
		if err != nil || kind == plumbing.REFDeltaObject {
			return true, err
		}
	}
	return false, nil
}

// merge writes the entries of packs one after the other into a new pack. Deltas
// stay right, for they count back from where they are.
func (c *clone) merge(packs []*pack) (*pack, error) {
	temp, err := os.CreateTemp(c.tempDir(), "merge-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(temp.Name()) // gone already if all went well
	defer closeQuietly(temp)
	sum := sha1.New()
	out := io.MultiWriter(temp, sum)
	x := &index{}
	count := 0
	for _, p := range packs {
		count += p.len()
	}
	head := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(count))
	if _, err := out.Write(head); err != nil {
		return nil, err
	}
	at := uint32(packHeader)
	for _, p := range packs {
		body := p.size - packHeader - sha1.Size
		if n, err := io.Copy(out, io.NewSectionReader(p.file, packHeader, body)); err != nil || n != body {
			c.damaged.Store(true)
			return nil, damaged("%s is cut short", p.name)
		}
		for i := range p.len() {
			x.names = append(x.names, p.index.name(i)...)
			x.crcs = append(x.crcs, p.crcs[i])
			x.offsets = append(x.offsets, p.offsets[i]-packHeader+at)
		}
		at += uint32(body)
	}
	sum.Sum(x.sum[:0])
	if _, err := temp.Write(x.sum[:]); err != nil {
		return nil, err
	}
	x.sort()
	return c.store(temp.Name(), x)
}
