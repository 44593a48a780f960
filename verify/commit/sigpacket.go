package commit

import "encoding/binary"

// checkSignaturePacket looks at a detached signature before the library does. It
// must be one packet of definite length that fills body (RFC 9580, sections 4.2
// and 5.2). The library allocates what a length claims before it reads, up to
// gigabytes in version 6, so lengths are held against what is there; and
// signatures in signatures, which have no place here, would hide more of them.
// Weak digests are told apart from unknown ones, which the library does not.
func checkSignaturePacket(body []byte) *fault {
	content, f := signaturePacket(body)
	if f != nil {
		return f
	}
	if len(content) < 12 {
		return faultf(BadSignature, "the signature packet is cut short")
	}
	switch version := content[0]; version {
	case 2, 3:
		if len(content) < 19 {
			return faultf(BadSignature, "the signature packet is cut short")
		}
		if f := weakDigest(content[16]); f != nil {
			return f
		}
		return faultf(UnsupportedSignature, "signature packet of the obsolete version %d", version)
	case 4:
		return checkSubpackets(content, 2)
	case 6:
		return checkSubpackets(content, 4)
	default:
		return faultf(UnsupportedSignature, "signature packet of version %d", version)
	}
}

// signaturePacket returns the content of the only packet.
func signaturePacket(b []byte) ([]byte, *fault) {
	unreadable := faultf(BadSignature, "no signature packet of definite length")
	if len(b) < 6 || b[0]&0x80 == 0 {
		return nil, unreadable
	}
	tag, size, at := b[0]&0x3f, uint64(0), 0
	if b[0]&0x40 == 0 { // legacy format
		tag = tag >> 2
		switch b[0] & 3 {
		case 0:
			size, at = uint64(b[1]), 2
		case 1:
			size, at = uint64(binary.BigEndian.Uint16(b[1:])), 3
		case 2:
			size, at = uint64(binary.BigEndian.Uint32(b[1:])), 5
		default:
			return nil, unreadable
		}
	} else {
		switch {
		case b[1] < 192:
			size, at = uint64(b[1]), 2
		case b[1] < 224:
			size, at = uint64(b[1]-192)<<8+uint64(b[2])+192, 3
		case b[1] == 255:
			size, at = uint64(binary.BigEndian.Uint32(b[2:])), 6
		default:
			return nil, unreadable
		}
	}
	switch left := uint64(len(b) - at); {
	case tag != 2:
		return nil, faultf(BadSignature, "a packet that is not a signature")
	case size > left:
		return nil, faultf(BadSignature, "the signature packet is cut short")
	case size < left:
		return nil, faultf(BadSignature, "more than one packet in the signature")
	}
	return b[at:], nil
}

// checkSubpackets checks a packet of version 4 or 6, in which lengths of areas
// take the given number of octets.
func checkSubpackets(content []byte, octets int) *fault {
	if f := weakDigest(content[3]); f != nil {
		return f
	}
	rest := content[4:]
	for range 2 { // the hashed area and the other
		if len(rest) < octets {
			return faultf(BadSignature, "the signature packet is cut short")
		}
		size := uint64(0)
		for _, b := range rest[:octets] {
			size = size<<8 | uint64(b)
		}
		rest = rest[octets:]
		if size > uint64(len(rest)) {
			return faultf(BadSignature, "the signature packet is cut short")
		}
		if f := checkArea(rest[:size]); f != nil {
			return f
		}
		rest = rest[size:]
	}
	return nil
}

const embeddedSignature = 32 // RFC 9580, section 5.2.3.34

// checkArea goes through the subpackets of an area.
func checkArea(area []byte) *fault {
	for len(area) > 0 {
		size, at := uint64(area[0]), 1
		switch {
		case area[0] == 255 && len(area) >= 5:
			size, at = uint64(binary.BigEndian.Uint32(area[1:])), 5
		case area[0] >= 192 && area[0] < 255 && len(area) >= 2:
			size, at = uint64(area[0]-192)<<8+uint64(area[1])+192, 2
		case area[0] >= 192:
			return faultf(BadSignature, "a subpacket of the signature is cut short")
		}
		if size == 0 || size > uint64(len(area)-at) {
			return faultf(BadSignature, "a subpacket of the signature is cut short")
		}
		if area[at]&0x7f == embeddedSignature {
			return faultf(BadSignature, "a signature inside the signature")
		}
		area = area[uint64(at)+size:]
	}
	return nil
}

// weakDigest judges a digest by its number; keys are judged by weakKey.
func weakDigest(hash byte) *fault {
	switch hash { // RFC 9580, section 9.5
	case 1, 2, 3:
		return faultf(WeakCryptography, "the signature's digest is %s: use SHA-256 or better",
			map[byte]string{1: "MD5", 2: "SHA-1", 3: "RIPEMD-160"}[hash])
	}
	return nil
}
