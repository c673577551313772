// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"sync"
)

// A pump decompresses ahead of the one who reads, in a goroutine of its own, and takes the digest on the way: on two
// processors the files are written while the next bytes are inflated.
type pump struct {
	chunks chan []byte // filled, in order; closed at the end, after err and sum are set
	spare  chan []byte // used up, to be filled again
	quit   chan struct{}
	once   sync.Once

	rest []byte // of the chunk that is being read
	last []byte // that chunk

	err error // nil at a clean end
	sum string
}

const (
	pumpChunk = 256 << 10
	pumpDepth = 4
)

// startPump reads at most max bytes from r. Whoever calls it calls stop, too, before r is closed.
func startPump(r io.Reader, max int64) *pump {
	p := &pump{
		chunks: make(chan []byte, pumpDepth),
		spare:  make(chan []byte, pumpDepth+2),
		quit:   make(chan struct{}),
	}
	for range pumpDepth + 2 {
		p.spare <- nil
	}
	go p.run(r, max)
	return p
}

func (p *pump) run(r io.Reader, max int64) {
	defer close(p.chunks)
	h := sha256.New()
	for total := int64(0); ; {
		var buf []byte
		select {
		case buf = <-p.spare:
		case <-p.quit:
			p.err = io.ErrClosedPipe
			return
		}
		if buf == nil {
			buf = make([]byte, pumpChunk)
		}
		n, err := io.ReadFull(r, buf[:pumpChunk])
		if total += int64(n); total > max {
			p.err = fmt.Errorf("%w: more than %d bytes uncompressed", ErrLimit, max)
			return
		}
		h.Write(buf[:n])
		select {
		case p.chunks <- buf[:n]:
		case <-p.quit:
			p.err = io.ErrClosedPipe
			return
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			// ReadFull's ErrUnexpectedEOF can also be the decompressor's own word for a cut stream: ask again.
			if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				p.err = fmt.Errorf("decompress: %w", io.ErrUnexpectedEOF)
			}
			p.sum = "sha256:" + hex.EncodeToString(h.Sum(nil))
			return
		default:
			p.err = fmt.Errorf("decompress: %w", err)
			return
		}
	}
}

func (p *pump) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		if !p.next() {
			if p.err != nil {
				return 0, p.err
			}
			return 0, io.EOF
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

func (p *pump) next() bool {
	if p.last != nil {
		p.spare <- p.last
	}
	chunk, ok := <-p.chunks
	p.last, p.rest = chunk, chunk
	return ok
}

// drain reads what comes after the archive's end mark, which belongs to the digest as well, and returns the digest.
func (p *pump) drain() (string, error) {
	for p.next() {
	}
	return p.sum, p.err
}

// stop ends the goroutine and returns when it no longer reads.
func (p *pump) stop() {
	p.once.Do(func() {
		close(p.quit)
		for range p.chunks {
		}
	})
}
