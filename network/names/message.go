// SPDX-License-Identifier: Apache-2.0

package names

import (
	"bytes"
	"encoding/binary"
)

// The parts of a message (RFC 1035, section 4) that are of interest here.
const (
	headerSize = 12
	maxName    = 255
	maxLabel   = 63

	flagResponse  = 1 << 15
	flagAuthority = 1 << 10
	flagTruncated = 1 << 9
	flagDesired   = 1 << 8 // recursion
	flagRecursion = 1 << 7 // is available
	maskOpcode    = 0xf << 11
	maskCode      = 0xf

	typeA    = 1
	typePTR  = 12
	typeAAAA = 28
	typeOPT  = 41
	typeIXFR = 251
	typeAXFR = 252
	typeANY  = 255

	classIN  = 1
	classANY = 255
)

// Codes of an answer.
const (
	codeOK      = 0
	codeFormat  = 1
	codeFailure = 2 // SERVFAIL
	codeNoName  = 3 // NXDOMAIN
	codeNotImpl = 4
	codeRefused = 5
	codeVersion = 16 // BADVERS, of which EDNS has the upper part
)

// Sizes of datagrams: what everybody takes, and the most that we send.
const (
	smallSize = 512
	largeSize = 4096
)

// A query is a question, and what an answer to it has to regard.
type query struct {
	id, flags  uint16
	name       string // in lower case, its labels joined by dots; "" is the root
	odd        bool   // a label has a dot in it, or what is no text: no name of ours
	typ, class uint16
	question   []byte // the section as it came, part of the message
	edns       bool
	ok         bool // DNSSEC's, to be repeated
	size       int  // of the largest datagram that the client takes
}

// parseQuery reads a client's message. A code other than codeOK says what is
// wrong with it. What must not be answered at all is no query: an answer, or less than a header.
func parseQuery(msg []byte) (q query, code int, isQuery bool) {
	if len(msg) < headerSize {
		return q, codeFormat, false
	}
	be := binary.BigEndian
	q.id, q.flags, q.size = be.Uint16(msg), be.Uint16(msg[2:]), smallSize
	switch {
	case q.flags&flagResponse != 0:
		return q, codeFormat, false // and so no two servers talk for ever
	case q.flags&maskOpcode != 0:
		return q, codeNotImpl, true
	case be.Uint16(msg[4:]) != 1 || be.Uint16(msg[6:]) != 0 || be.Uint16(msg[8:]) != 0 || q.flags&flagTruncated != 0:
		return q, codeFormat, true
	}
	end, ok := q.readName(msg)
	if !ok || len(msg) < end+4 {
		return q, codeFormat, true
	}
	q.typ, q.class, q.question = be.Uint16(msg[end:]), be.Uint16(msg[end+2:]), msg[headerSize:end+4]
	if code := q.readRest(msg, end+4, int(be.Uint16(msg[10:]))); code != codeOK {
		return q, code, true
	}
	switch {
	case q.class != classIN && q.class != classANY:
		return q, codeRefused, true
	case q.typ == typeAXFR || q.typ == typeIXFR || q.typ == typeOPT:
		return q, codeRefused, true
	}
	return q, codeOK, true
}

// readName reads the question's name, which can't be a compressed one: nothing stands before it.
func (q *query) readName(msg []byte) (end int, ok bool) {
	var name [maxName]byte
	n := 0
	for at := headerSize; at < len(msg); {
		size := int(msg[at])
		at++
		if size == 0 {
			q.name = string(name[:n])
			return at, true
		}
		if size > maxLabel || at+size > len(msg) || n+size+1 > maxName-1 {
			return 0, false
		}
		if n > 0 {
			name[n] = '.'
			n++
		}
		for _, c := range msg[at : at+size] {
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			q.odd = q.odd || c == '.' || c <= ' ' || c >= 0x7f
			name[n] = c
			n++
		}
		at += size
	}
	return 0, false
}

// readRest looks for EDNS (RFC 6891) among the additional records.
func (q *query) readRest(msg []byte, at, count int) (code int) {
	for range count {
		for at < len(msg) && msg[at] != 0 && msg[at]&0xc0 == 0 {
			at += 1 + int(msg[at])
		}
		root := at < len(msg) && msg[at] == 0
		if !root {
			at++ // of a pointer's two bytes
		}
		at++
		if at+10 > len(msg) {
			return codeFormat
		}
		typ, class, version, flags := binary.BigEndian.Uint16(msg[at:]), binary.BigEndian.Uint16(msg[at+2:]), msg[at+5], binary.BigEndian.Uint16(msg[at+6:])
		if at += 10 + int(binary.BigEndian.Uint16(msg[at+8:])); at > len(msg) {
			return codeFormat
		}
		if typ != typeOPT {
			continue
		}
		if q.edns || !root {
			return codeFormat
		}
		q.edns, q.ok = true, flags>>15 != 0
		q.size = min(max(int(class), smallSize), largeSize)
		if version != 0 {
			return codeVersion
		}
	}
	return codeOK
}

// A record is an answer to the question's name. Containers come and go, so
// nobody is to keep it.
type record struct {
	typ  uint16
	data string
}

// reply makes an answer of our own, behind what is in b, of at most size bytes: records
// that have no room are left out, and the answer says so. It begins with another record each turn.
func (q *query) reply(b []byte, code int, records []record, turn, size int) []byte {
	start := len(b)
	flags := flagResponse | q.flags&(maskOpcode|flagDesired) | flagRecursion | uint16(code&maskCode)
	if code == codeOK {
		flags |= flagAuthority
	}
	be := binary.BigEndian
	b = be.AppendUint16(b, q.id)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	if q.question != nil {
		be.PutUint16(b[start+4:], 1)
		b = append(b, q.question...)
	}
	if q.edns {
		size -= 11
	}
	n := 0
	for i := range records {
		r := &records[(i+turn)%len(records)]
		if len(b)-start+12+len(r.data) > size {
			flags |= flagTruncated
			break
		}
		b = be.AppendUint16(b, 0xc000|headerSize) // the question's name
		b = be.AppendUint16(b, r.typ)
		b = be.AppendUint16(b, classIN)
		b = be.AppendUint32(b, 0)
		b = be.AppendUint16(b, uint16(len(r.data)))
		b = append(b, r.data...)
		n++
	}
	if q.edns {
		b = append(b, 0)
		b = be.AppendUint16(b, typeOPT)
		b = be.AppendUint16(b, largeSize)
		b = append(b, byte(code>>4), 0)
		b = be.AppendUint16(b, q.dnssec())
		b = append(b, 0, 0)
		be.PutUint16(b[start+10:], 1)
	}
	be.PutUint16(b[start+2:], flags)
	be.PutUint16(b[start+6:], uint16(n))
	return b
}

func (q *query) dnssec() uint16 {
	if q.ok {
		return 1 << 15
	}
	return 0
}

// cut is an answer of somebody else's that is too large for a datagram: its
// head, which tells the client to ask again by TCP.
func (q *query) cut(answer []byte) []byte {
	b := q.reply(nil, int(answer[3]&maskCode), nil, 0, maxMessage)
	binary.BigEndian.PutUint16(b[2:], binary.BigEndian.Uint16(answer[2:])|flagTruncated)
	return b
}

// wireName is a name as a message has it; nil if it can be none.
func wireName(name string) []byte {
	b := make([]byte, 0, len(name)+2)
	for len(name) > 0 {
		i := 0
		for i < len(name) && name[i] != '.' {
			i++
		}
		if i == 0 || i > maxLabel {
			return nil
		}
		b = append(append(b, byte(i)), name[:i]...)
		name = name[min(i+1, len(name)):]
	}
	if b = append(b, 0); len(b) > maxName {
		return nil
	}
	return b
}

// answers reports whether a message is an answer to what was asked: the ID and
// the question are repeated. A server that fails may leave the question out.
func answers(msg []byte, id uint16, question []byte) bool {
	be := binary.BigEndian
	if len(msg) < headerSize || be.Uint16(msg) != id {
		return false
	}
	flags := be.Uint16(msg[2:])
	if flags&flagResponse == 0 || flags&maskOpcode != 0 {
		return false
	}
	switch be.Uint16(msg[4:]) {
	case 0:
		return failed(msg) && be.Uint16(msg[6:]) == 0
	case 1:
		end := headerSize + len(question)
		return len(msg) >= end && bytes.EqualFold(msg[headerSize:end], question)
	}
	return false
}

// failed reports whether an answer says that the server couldn't or wouldn't
// answer: another one may.
func failed(answer []byte) bool {
	switch answer[3] & maskCode {
	case codeFormat, codeFailure, codeNotImpl, codeRefused:
		return true
	}
	return false
}
