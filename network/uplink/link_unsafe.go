// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A wire is the link between the kernel's end of a cable and the stack: a
// packet socket or a TAP. Each frame on it begins with a struct virtio_net_hdr,
// by which both sides pass on 64 KB of TCP at once, and leave its checksum to
// nobody: it never leaves the machine's memory.
type wire struct {
	file *os.File
	raw  syscall.RawConn
	mac  tcpip.LinkAddress
	echo func(frame []byte) (taken bool) // sees the frames that may be a ping's first

	mu   sync.RWMutex
	mtu  uint32
	to   stack.NetworkDispatcher
	done sync.WaitGroup
}

const (
	vnetLen  = 10 // struct virtio_net_hdr
	frameMax = vnetLen + header.EthernetMinimumSize + 1<<16

	needsChecksum = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM
	gsoTCPv4      = 1 // VIRTIO_NET_HDR_GSO_TCPV4
	gsoTCPv6      = 4 // VIRTIO_NET_HDR_GSO_TCPV6
)

var _ stack.GSOEndpoint = (*wire)(nil)

func newWire(f *os.File, mac tcpip.LinkAddress, mtu uint32) (*wire, error) {
	raw, err := f.SyscallConn()
	return &wire{file: f, raw: raw, mac: mac, mtu: mtu}, err
}

func (w *wire) MTU() uint32 {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.mtu
}

func (w *wire) SetMTU(mtu uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mtu = mtu
}

func (w *wire) MaxHeaderLength() uint16                 { return header.EthernetMinimumSize }
func (w *wire) LinkAddress() tcpip.LinkAddress          { return w.mac }
func (w *wire) SetLinkAddress(tcpip.LinkAddress)        {}
func (w *wire) GSOMaxSize() uint32                      { return 65535 - header.EthernetMinimumSize }
func (w *wire) SupportedGSO() stack.SupportedGSO        { return stack.HostGSOSupported }
func (w *wire) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }
func (w *wire) Wait()                                   { w.done.Wait() }
func (w *wire) Close()                                  {}
func (w *wire) SetOnCloseAction(func())                 {}
func (w *wire) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityResolutionRequired | stack.CapabilityRXChecksumOffload
}

func (w *wire) IsAttached() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.to != nil
}

// Attach begins to read, or ends it.
func (w *wire) Attach(to stack.NetworkDispatcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.to
	w.to = to
	if to == nil {
		w.file.Close()
	} else if was == nil {
		w.done.Add(1)
		go w.read(to)
	}
}

func (w *wire) AddHeader(pkt *stack.PacketBuffer) {
	header.Ethernet(pkt.LinkHeader().Push(header.EthernetMinimumSize)).Encode(&header.EthernetFields{
		SrcAddr: pkt.EgressRoute.LocalLinkAddress, DstAddr: pkt.EgressRoute.RemoteLinkAddress, Type: pkt.NetworkProtocolNumber,
	})
}

func (w *wire) ParseHeader(pkt *stack.PacketBuffer) bool {
	h, ok := pkt.LinkHeader().Consume(header.EthernetMinimumSize)
	if ok {
		pkt.NetworkProtocolNumber = header.Ethernet(h).Type()
	}
	return ok
}

// read passes frames on to the stack until the wire is closed.
func (w *wire) read(to stack.NetworkDispatcher) {
	defer w.done.Done()
	const room = 1 << 16 // a view that is pooled
	var vnet [vnetLen]byte
	var tail [vnetLen + header.EthernetMinimumSize]byte // what a frame of the greatest length has beyond room
	view := buffer.NewViewSize(room)
	for {
		iov := [...]unix.Iovec{
			{Base: &vnet[0], Len: vnetLen},
			{Base: &view.AsSlice()[0], Len: room},
			{Base: &tail[0], Len: uint64(len(tail))},
		}
		n := 0
		var errno unix.Errno
		err := w.raw.Read(func(fd uintptr) bool {
			r, _, e := unix.Syscall(unix.SYS_READV, fd, uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)))
			n, errno = int(r), e
			return e != unix.EAGAIN && e != unix.EINTR
		})
		if err != nil || errno != 0 && errno != unix.ENETDOWN && errno != unix.EIO {
			return
		}
		n -= vnetLen
		if errno != 0 || n < header.EthernetMinimumSize {
			continue
		}
		v := view
		if n <= room/4 { // the large one stays for the next frame
			v = buffer.NewViewWithData(view.AsSlice()[:n])
		} else {
			v.CapLength(min(n, room))
			view = buffer.NewViewSize(room)
		}
		if n <= room && w.echo(v.AsSlice()) {
			v.Release()
			continue
		}
		payload := buffer.MakeWithView(v)
		if n > room {
			payload.Append(buffer.NewViewWithData(tail[:n-room]))
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: payload})
		pkt.RXChecksumValidated = true
		if w.ParseHeader(pkt) {
			if d := header.Ethernet(pkt.LinkHeader().Slice()).DestinationAddress(); d == w.mac || d[0]&1 != 0 {
				to.DeliverNetworkPacket(pkt.NetworkProtocolNumber, pkt)
			}
		}
		pkt.DecRef()
	}
}

// vnetHeader tells the kernel how to cut a packet that is larger than a segment,
// and where its checksum goes if it needs one after all.
func vnetHeader(pkt *stack.PacketBuffer) (h [vnetLen]byte) {
	o := pkt.GSOOptions
	if o.Type == stack.GSONone {
		return h
	}
	binary.NativeEndian.PutUint16(h[2:], uint16(pkt.HeaderSize()))
	if o.NeedsCsum {
		h[0] = needsChecksum
		binary.NativeEndian.PutUint16(h[6:], header.EthernetMinimumSize+o.L3HdrLen)
		binary.NativeEndian.PutUint16(h[8:], o.CsumOffset)
	}
	if pkt.Data().Size() > int(o.MSS) {
		h[1] = gsoTCPv4
		if o.Type == stack.GSOTCPv6 {
			h[1] = gsoTCPv6
		}
		binary.NativeEndian.PutUint16(h[4:], o.MSS)
	}
	return h
}

// WritePackets writes frames. What the kernel has no room for is lost, as on
// any wire.
func (w *wire) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	for i, pkt := range list.AsSlice() {
		h := vnetHeader(pkt)
		var room [16]unix.Iovec
		iov := append(room[:0], unix.Iovec{Base: &h[0], Len: vnetLen})
		for _, s := range pkt.AsSlices() {
			if len(s) > 0 {
				iov = append(iov, unix.Iovec{Base: &s[0], Len: uint64(len(s))})
			}
		}
		var errno unix.Errno
		err := w.raw.Write(func(fd uintptr) bool {
			_, _, errno = unix.Syscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)))
			return true
		})
		switch {
		case errors.Is(err, os.ErrClosed):
			return i, &tcpip.ErrClosedForSend{}
		case errno == unix.EAGAIN || errno == unix.ENOBUFS:
			return i, &tcpip.ErrNoBufferSpace{}
		}
	}
	return list.Len(), nil
}

// send writes a frame that is ready.
func (w *wire) send(frame []byte) {
	_ = w.raw.Write(func(fd uintptr) bool {
		_, _ = unix.Writev(int(fd), [][]byte{make([]byte, vnetLen), frame})
		return true
	})
}
