// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// A Compression is a way in which archives are made smaller.
type Compression int

// The compressions, by their first bytes.
const (
	None Compression = iota
	Gzip
	Zstd
	Bzip2
	XZ // known, to be refused by name
)

func (c Compression) String() string {
	return [...]string{"none", "gzip", "zstd", "bzip2", "xz"}[c]
}

// ErrXZ is the error for an archive that is compressed by xz, which vitro can't read.
var ErrXZ = errors.New(`xz is not supported: decompress it first ("xz -dc FILE")`)

var magics = [...]struct {
	bytes string
	is    Compression
}{
	{"\x1f\x8b\x08", Gzip},
	{"\x28\xb5\x2f\xfd", Zstd},
	{"BZh", Bzip2},
	{"\xfd7zXZ\x00", XZ},
}

// Detect says how data begins; all of its first six bytes are wanted.
func Detect(head []byte) Compression {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.bytes)) {
			return m.is
		}
	}
	// A zstd stream may begin with a skippable frame, magic 0x184D2A50 to 0x184D2A5F (RFC 8878, 3.1.2).
	if len(head) >= 4 && head[0]&0xf0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18" {
		return Zstd
	}
	return None
}

// zstdWindow is the largest window that is accepted: that of "zstd --ultra -22". More would let a header of a few bytes
// ask for gigabytes of memory.
const zstdWindow = 128 << 20

// Decompress gives the plain content of r, and how it was compressed, which it sees by the first bytes.
// To close the reader frees its memory and doesn't close r.
func Decompress(r io.Reader) (io.ReadCloser, Compression, error) {
	br := bufio.NewReaderSize(r, 256<<10)
	head, err := br.Peek(6)
	if err != nil && err != io.EOF {
		return nil, None, fmt.Errorf("read archive: %w", err)
	}
	switch c := Detect(head); c {
	case Gzip:
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, c, fmt.Errorf("read gzip: %w", err)
		}
		return z, c, nil
	case Zstd:
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, c, fmt.Errorf("read zstd: %w", err)
		}
		return z.IOReadCloser(), c, nil
	case Bzip2:
		return io.NopCloser(bzip2.NewReader(br)), c, nil
	case XZ:
		return nil, c, ErrXZ
	default:
		return io.NopCloser(br), c, nil
	}
}
