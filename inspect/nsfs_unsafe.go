// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ioctls and calls of newer kernels that package unix has no function for:
// include/uapi/linux/nsfs.h, include/uapi/linux/mount.h.
const (
	nsMountInfo = 0x8010b70a // NS_MNT_GET_INFO, Linux 6.12
	nsMountNext = 0x8010b70b // NS_MNT_GET_NEXT
	nsMountPrev = 0x8010b70c // NS_MNT_GET_PREV

	sysStatmount = 457 // Linux 6.8
	sysListmount = 458
	sysListns    = 470 // Linux 6.19

	statmountRoot  = 0x08 // STATMOUNT_MNT_ROOT
	statmountPoint = 0x10 // STATMOUNT_MNT_POINT
	statmountType  = 0x20 // STATMOUNT_FS_TYPE

	listmountRoot = ^uint64(0) // LSMT_ROOT

	nsfsRoot   = -10003 // FD_NSFS_ROOT, Linux 6.18
	handleNsfs = 0xf1   // FILEID_NSFS
)

// mountNSInfo is struct mnt_ns_info.
type mountNSInfo struct {
	size   uint32
	mounts uint32
	id     uint64
}

// mountNS is the 64 bit ID of the mount namespace that a descriptor stands
// for; 0 on kernels that have none.
func mountNS(fd int) uint64 {
	info := mountNSInfo{size: 16}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), nsMountInfo, uintptr(unsafe.Pointer(&info)))
	if errno != 0 {
		return 0
	}
	return info.id
}

// besideMountNS opens the mount namespace before or behind one, in the order
// of their IDs; those that this process has no CAP_SYS_ADMIN over are left out.
func besideMountNS(fd int, request uintptr) (next int, id uint64, err error) {
	info := mountNSInfo{size: 16}
	got, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&info)))
	if errno != 0 {
		return -1, 0, errno
	}
	unix.CloseOnExec(int(got))
	return int(got), info.id, nil
}

// mountRequest is struct mnt_id_req.
type mountRequest struct {
	size  uint32
	spare uint32
	mount uint64
	param uint64
	space uint64 // the mount namespace
}

// listMounts are the IDs of all mounts in a mount namespace.
func listMounts(space uint64) ([]uint64, error) {
	var all []uint64
	var ids [512]uint64
	req := mountRequest{size: 32, mount: listmountRoot, space: space}
	for {
		n, _, errno := unix.Syscall6(sysListmount, uintptr(unsafe.Pointer(&req)), uintptr(unsafe.Pointer(&ids)), uintptr(len(ids)), 0, 0, 0)
		if errno != 0 {
			return nil, errno
		}
		all = append(all, ids[:n]...)
		if int(n) < len(ids) {
			return all, nil
		}
		req.param = ids[n-1]
	}
}

// mountCard is what a mount says of itself.
type mountCard struct{ kind, root, point string }

// statMount asks about one mount. The buffer is one to use again.
func statMount(space, id uint64, buf []byte) (mountCard, error) {
	// struct statmount: 512 bytes, then the strings that offsets in it lead to.
	const head, typeAt, rootAt, pointAt = 512, 36, 104, 108
	req := mountRequest{size: 32, mount: id, param: statmountRoot | statmountPoint | statmountType, space: space}
	_, _, errno := unix.Syscall6(sysStatmount, uintptr(unsafe.Pointer(&req)), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0, 0)
	if errno != 0 {
		return mountCard{}, errno
	}
	text := func(at int) string {
		from := head + int(binary.NativeEndian.Uint32(buf[at:]))
		if from >= len(buf) {
			return ""
		}
		end := bytes.IndexByte(buf[from:], 0)
		if end < 0 {
			return ""
		}
		return string(buf[from : from+end])
	}
	card := mountCard{kind: text(typeAt)}
	if card.kind == "nsfs" {
		card.root, card.point = text(rootAt), text(pointAt)
	}
	return card, nil
}

// listSpaces are the 64 bit IDs of all namespaces that are in use, as far as
// this process may know of them: listns(2).
func listSpaces() ([]uint64, error) {
	req := struct {
		size, spare  uint32
		after        uint64
		kind, spare2 uint32
		user         uint64
	}{size: 32}
	var all []uint64
	var ids [1024]uint64
	for {
		n, _, errno := unix.Syscall6(sysListns, uintptr(unsafe.Pointer(&req)), uintptr(unsafe.Pointer(&ids)), uintptr(len(ids)), 0, 0, 0)
		if errno != 0 {
			return nil, errno
		}
		all = append(all, ids[:n]...)
		if int(n) < len(ids) {
			return all, nil
		}
		req.after = ids[n-1]
	}
}

// openSpace opens a namespace by its 64 bit ID.
func openSpace(id uint64) (int, error) {
	handle := struct {
		bytes uint32
		kind  int32
		id    uint64 // struct nsfs_file_handle, whose other parts may be 0
		rest  [2]uint32
	}{bytes: 16, kind: handleNsfs, id: id}
	root := nsfsRoot
	fd, _, errno := unix.Syscall(unix.SYS_OPEN_BY_HANDLE_AT, uintptr(root), uintptr(unsafe.Pointer(&handle)), unix.O_RDONLY|unix.O_CLOEXEC)
	runtime.KeepAlive(&handle)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
