package gitserver

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Types of pack entries, as gitformat-pack(5) numbers them.
const (
	Commit      = 1
	Tree        = 2
	Blob        = 3
	Tag         = 4
	OffsetDelta = 6
	RefDelta    = 7
)

// A PackEntry is one entry of a pack, right or wrong.
type PackEntry struct {
	// Type is one of the constants above, or any other three-bit number.
	Type byte
	// Data is the object's content, or the delta.
	Data []byte
	// Size is the declared size; 0 means the true one.
	Size uint64
	// Base is the index of an OffsetDelta's base.
	Base int
	// Distance replaces the distance to Base when not 0.
	Distance uint64
	// BaseHash is the hexadecimal hash of a RefDelta's base.
	BaseHash string
	// Deflated replaces the compressed Data.
	Deflated []byte
}

// BuildPack writes a pack of the entries, exactly as they are, with a right
// header and trailer.
func BuildPack(entries ...PackEntry) []byte {
	var b bytes.Buffer
	b.WriteString("PACK")
	b.Write(binary.BigEndian.AppendUint32(nil, 2))
	b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(entries))))
	offsets := make([]int, len(entries))
	for i, e := range entries {
		offsets[i] = b.Len()
		size := e.Size
		if size == 0 {
			size = uint64(len(e.Data))
		}
		b.Write(entryHeader(e.Type, size))
		switch e.Type {
		case OffsetDelta:
			distance := e.Distance
			if distance == 0 {
				distance = uint64(offsets[i] - offsets[e.Base])
			}
			b.Write(offsetVarint(distance))
		case RefDelta:
			raw, err := hex.DecodeString(e.BaseHash)
			if err != nil {
				panic(fmt.Sprintf("gitserver: BaseHash %q: %v", e.BaseHash, err))
			}
			b.Write(raw)
		}
		if e.Deflated != nil {
			b.Write(e.Deflated)
		} else {
			b.Write(Deflate(e.Data))
		}
	}
	return SumPack(b.Bytes())
}

// SumPack appends the trailer to a pack that lacks it.
func SumPack(body []byte) []byte {
	sum := sha1.Sum(body)
	return append(body, sum[:]...)
}

// Deflate compresses data as zlib does.
func Deflate(data []byte) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write(data) // a bytes.Buffer cannot fail
	_ = w.Close()
	return b.Bytes()
}

// Hash is the hexadecimal hash of an object, for instance Hash("blob", data).
func Hash(kind string, data []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "%s %d\x00", kind, len(data))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

// Delta writes a delta from its parts.
func Delta(baseSize, resultSize uint64, instructions ...[]byte) []byte {
	b := binary.AppendUvarint(nil, baseSize)
	b = binary.AppendUvarint(b, resultSize)
	for _, i := range instructions {
		b = append(b, i...)
	}
	return b
}

// CopyFromBase is a delta instruction that copies up to 64 KiB.
func CopyFromBase(offset, size uint32) []byte {
	return []byte{
		0x80 | 0x0f | 0x30,
		byte(offset), byte(offset >> 8), byte(offset >> 16), byte(offset >> 24),
		byte(size), byte(size >> 8),
	}
}

// Insert is a delta instruction that inserts 1 to 127 bytes.
func Insert(data []byte) []byte { return append([]byte{byte(len(data))}, data...) }

func entryHeader(kind byte, size uint64) []byte {
	c := kind<<4 | byte(size&0x0f)
	size >>= 4
	var b []byte
	for size != 0 {
		b = append(b, c|0x80)
		c = byte(size & 0x7f)
		size >>= 7
	}
	return append(b, c)
}

func offsetVarint(n uint64) []byte {
	b := []byte{byte(n & 0x7f)}
	for n >>= 7; n != 0; n >>= 7 {
		n--
		b = append([]byte{0x80 | byte(n&0x7f)}, b...)
	}
	return b
}
