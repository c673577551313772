// SPDX-License-Identifier: Apache-2.0

package dbus

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The types of messages.
const (
	MethodCall = 1 + iota
	MethodReturn
	ErrorReply
	Signal
)

// A Message is what goes over the wire.
type Message struct {
	Type                     byte
	Flags                    byte
	Serial                   uint32
	ReplySerial              uint32 // of the call that it answers
	Path, Interface, Member  string
	ErrorName                string
	Destination, Sender, Sig string
	Body                     []any
}

// The codes of header fields.
const (
	fieldPath = 1 + iota
	fieldInterface
	fieldMember
	fieldErrorName
	fieldReplySerial
	fieldDestination
	fieldSender
	fieldSignature
)

// texts are the fields that are text, with their types.
func (m *Message) texts() [7]struct {
	code byte
	sig  string
	s    *string
} {
	return [7]struct {
		code byte
		sig  string
		s    *string
	}{
		{fieldPath, "o", &m.Path},
		{fieldInterface, "s", &m.Interface},
		{fieldMember, "s", &m.Member},
		{fieldErrorName, "s", &m.ErrorName},
		{fieldDestination, "s", &m.Destination},
		{fieldSender, "s", &m.Sender},
		{fieldSignature, "g", &m.Sig},
	}
}

const (
	headSize = 16      // up to the length of the header's fields
	maxSize  = 1 << 24 // of a message; systemd's are a thousandth of it
	version  = 1
)

// headSig is the signature of a message's head.
const headSig = "yyyyuua(yv)"

// Encode is the message as it goes over the wire.
func (m *Message) Encode() ([]byte, error) {
	body, err := Encode(m.Sig, m.Body...)
	if err != nil {
		return nil, err
	}
	var fields []any
	for _, f := range m.texts() {
		if *f.s != "" {
			fields = append(fields, []any{f.code, Variant{f.sig, *f.s}})
		}
	}
	if m.ReplySerial != 0 {
		fields = append(fields, []any{byte(fieldReplySerial), Variant{"u", m.ReplySerial}})
	}
	head, err := Encode(headSig, byte('l'), m.Type, m.Flags, byte(version), uint32(len(body)), m.Serial, fields)
	if err != nil {
		return nil, err
	}
	for len(head)%8 != 0 {
		head = append(head, 0)
	}
	return append(head, body...), nil
}

// size is the length of the message that begins so, from its first headSize bytes.
func size(head []byte) (int, error) {
	if head[0] != 'l' || head[3] != version {
		return 0, fmt.Errorf("read message: byte order %q, version %d: want little-endian, version %d", head[0], head[3], version)
	}
	body, fields := binary.LittleEndian.Uint32(head[4:]), binary.LittleEndian.Uint32(head[12:])
	if body > maxSize || fields > maxSize {
		return 0, fmt.Errorf("read message: %d bytes and a head of %d, of at most %d", body, fields, maxSize)
	}
	return headSize + (int(fields)+7)/8*8 + int(body), nil
}

// DecodeMessage reads a whole message.
func DecodeMessage(b []byte) (*Message, error) {
	if len(b) < headSize {
		return nil, fmt.Errorf("read message: %w", errShort)
	}
	n, err := size(b)
	if err != nil {
		return nil, err
	}
	if n != len(b) {
		return nil, fmt.Errorf("read message: it says %d bytes and has %d", n, len(b))
	}
	length := int(binary.LittleEndian.Uint32(b[4:]))
	end := len(b) - length
	head, err := Decode(b[:headSize+int(binary.LittleEndian.Uint32(b[12:]))], headSig)
	if err != nil {
		return nil, fmt.Errorf("read message's head: %w", err)
	}
	m := &Message{Type: b[1], Flags: b[2], Serial: head[5].(uint32)} //nolint:forcetypeassert // headSig says so
	for _, f := range head[6].([]any) {                              //nolint:forcetypeassert // headSig says so
		if err := m.field(f); err != nil {
			return nil, err
		}
	}
	if m.Serial == 0 {
		return nil, errors.New("read message: its number is 0")
	}
	if m.Body, err = Decode(b[end:], m.Sig); err != nil {
		return nil, fmt.Errorf("read message's body: %w", err)
	}
	return m, nil
}

// field takes a header field. One that it doesn't know is passed over, as the
// specification has it.
func (m *Message) field(f any) error {
	pair, _ := f.([]any)
	code, _ := pair[0].(byte)
	v, _ := pair[1].(Variant)
	for _, t := range m.texts() {
		if t.code != code {
			continue
		}
		s, ok := v.Value.(string)
		if !ok || v.Sig != t.sig {
			return fmt.Errorf("read message: header field %d is a %q", code, v.Sig)
		}
		*t.s = s
	}
	if code == fieldReplySerial {
		n, ok := v.Value.(uint32)
		if !ok {
			return fmt.Errorf("read message: header field %d is a %q", code, v.Sig)
		}
		m.ReplySerial = n
	}
	return nil
}
