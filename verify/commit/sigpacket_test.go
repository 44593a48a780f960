package commit

import (
	"runtime"
	"testing"
)

// Lengths are claims: none may make us allocate what is not there.
func TestSignaturePacketClaims(t *testing.T) {
	area := func(b ...byte) []byte { return append([]byte{0xc2, byte(len(b))}, b...) }
	for name, body := range map[string][]byte{
		"HashedAreaOfGigabytes":   area(6, 0, 22, 8, 0xff, 0xff, 0xff, 0xff, 5, 2, 0, 0, 0, 1),
		"UnhashedAreaOfGigabytes": area(6, 0, 22, 8, 0, 0, 0, 6, 5, 2, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff),
		"EmbeddedSignature":       area(4, 0, 22, 8, 0, 12, 11, 32, 6, 0x19, 22, 8, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0),
		"SubpacketOfGigabytes":    area(4, 0, 22, 8, 0, 6, 255, 0xff, 0xff, 0xff, 0xff, 2, 0, 0),
		"SubpacketWithoutType":    area(4, 0, 22, 8, 0, 1, 0, 0, 0, 0, 0, 0),
		"AreaLongerThanPacket":    area(4, 0, 22, 8, 0xff, 0xff, 0, 0, 0, 0, 0, 0),
		"PacketLongerThanBody":    {0xc2, 255, 0xff, 0xff, 0xff, 0xff, 4, 0, 22, 8},
		"PartialLength":           {0xc2, 230, 4, 0, 22, 8, 0, 0, 0, 0},
		"IndeterminateLength":     {0x8b, 4, 0, 22, 8, 0, 0, 0, 0},
		"CompressedData":          {0xc8, 6, 1, 0, 0, 0, 0, 0},
		"Nothing":                 {},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			f := checkSignaturePacket(body)
			runtime.ReadMemStats(&after)
			if f == nil || f.reason != BadSignature {
				t.Errorf("checkSignaturePacket: %+v", f)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				t.Errorf("allocated %d bytes", n)
			}
		})
	}
}
