// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/plan"
	"vitro/rootfs"
	"vitro/spec"
)

// The IDs that systemd sets aside for containers, in blocks of 65,536: no other
// program gives users or files IDs from there ("Users, Groups, UIDs and GIDs
// on systemd systems").
const (
	firstBlock = 524288 >> 16
	lastBlock  = 1878982656 >> 16
)

// autoMaps chooses a block of IDs that no container has. A container keeps it
// as long as it is there: its files belong to these users.
func autoMaps(e *Engine, id string) (*idMaps, error) {
	of := func(block uint32) *idMaps {
		m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: block << 16, Size: 1 << 16}}
		return &idMaps{uid: m, gid: m, block: block}
	}
	if data, err := os.ReadFile(filepath.Join(e.Containers.Root, id, "block")); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 16); err == nil {
			return of(uint32(n)), nil
		}
	}
	taken := make(map[uint32]bool)
	files, _ := filepath.Glob(filepath.Join(e.Containers.Root, "*", "block"))
	for _, f := range files {
		data, _ := os.ReadFile(f)
		if n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 32); err == nil {
			taken[uint32(n)] = true
		}
	}
	h := fnv.New32a()
	h.Write([]byte(id))
	const blocks = lastBlock - firstBlock + 1
	for i := range uint32(blocks) {
		block := firstBlock + (h.Sum32()+i)%blocks
		if !taken[block] {
			return of(block), nil
		}
	}
	return nil, errors.New("choose IDs for --userns=auto: all blocks are taken")
}

// shift makes root's files in the image appear as the container's root's.
func (d *draft) shift(root *rootfs.Root, r *spec.Request) error {
	first := d.maps.uid[0]
	if root.Direct {
		return hint(fmt.Errorf("run container with --userns=%s and --rootfs: its files would belong to nobody inside", d.Userns), "--rootfs DIR:O puts an overlay on top, whose owners can be mapped")
	}
	if root.Memory {
		return fmt.Errorf("run container with --userns=%s: not with changes in memory", d.Userns)
	}
	root.Owner = &rootfs.Owner{UID: int(first.HostID), GID: int(first.HostID)}
	step, err := root.Shift(first.HostID, first.Size)
	if err != nil {
		return err
	}
	r.Before = append(r.Before, step)
	r.Root = []plan.Step{}
	return nil
}
