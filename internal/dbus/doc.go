// SPDX-License-Identifier: Apache-2.0

// Package dbus is as much of D-Bus as it takes to ask systemd for something: a
// connection over a Unix socket, method calls, their replies and errors, and
// waiting for a signal.
//
//	Dial ─▶ Conn: EXTERNAL authentication, Hello
//	         │ Call ─▶ Message ─▶ bytes ─▶ socket
//	         ◀──────── Message ◀─ bytes ◀─ socket: the reply, or an *Error
//	         │ Wait: the first signal that somebody wants, also one that came
//	         ▼       ahead of a reply
//
// Values are Go's own, and a signature says what they are: byte, bool, int16,
// uint16, int32, uint32, int64, uint64, float64, string (s, o and g), []byte
// (ay), []any (any other array, a struct, or a dictionary's entry), Variant.
//
// It offers nothing itself, passes no descriptors, and is for one goroutine. Do
// not use it to serve a name on a bus, or against a peer of another byte order.
//
// Sources: the D-Bus specification 0.43 (type system, message format,
// authentication), and GLib's "GVariant Text Format" for ParseText.
package dbus
