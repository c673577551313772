// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// The bounds of a disk weight, as the specification has them.
const minWeight, maxWeight = 10, 1000

func (l *limits) blockIO(b *specs.LinuxBlockIO) {
	noLeaf := refused("leaf weights in version 2", "use weight and weightDevice instead")
	if w := value(b.Weight); w != 0 {
		l.weight("blockIO.weight", w)
		l.add("blockIO.weight", "io", fmt.Sprintf("when disks are short, weighs %d out of 10 to 1000", w),
			file("blkio.weight", num(w)).or("blkio.bfq.weight", num(w)),
			file("io.bfq.weight", num(w)).or("io.weight", utoa(IOWeight(w))))
	}
	if w := value(b.LeafWeight); w != 0 {
		l.weight("blockIO.leafWeight", w)
		l.add("blockIO.leafWeight", "io", "its processes' own weight beside the cgroups below", file("blkio.leaf_weight", num(w)), noLeaf)
	}
	for _, d := range b.WeightDevice {
		dev := device(d.LinuxBlockIODevice)
		if w := value(d.Weight); w != 0 {
			l.weight("blockIO.weightDevice", w)
			v := dev + " " + num(w)
			l.add("blockIO.weightDevice", "io", fmt.Sprintf("when the disk %s is short, weighs %d out of 10 to 1000", dev, w),
				file("blkio.weight_device", v).or("blkio.bfq.weight_device", v),
				file("io.bfq.weight", v).or("io.weight", dev+" "+utoa(IOWeight(w))))
		}
		if w := value(d.LeafWeight); w != 0 {
			l.weight("blockIO.weightDevice", w)
			l.add("blockIO.weightDevice", "io", "its processes' own weight beside the cgroups below",
				file("blkio.leaf_weight_device", dev+" "+num(w)), noLeaf)
		}
	}
	for _, t := range [...]struct {
		property, v1, v2, what string
		devices                []specs.LinuxThrottleDevice
	}{
		{"blockIO.throttleReadBpsDevice", "read_bps_device", "rbps", "reads at most %s a second from the disk %s", b.ThrottleReadBpsDevice},
		{"blockIO.throttleWriteBpsDevice", "write_bps_device", "wbps", "writes at most %s a second to the disk %s", b.ThrottleWriteBpsDevice},
		{"blockIO.throttleReadIOPSDevice", "read_iops_device", "riops", "reads at most %s times a second from the disk %s", b.ThrottleReadIOPSDevice},
		{"blockIO.throttleWriteIOPSDevice", "write_iops_device", "wiops", "writes at most %s times a second to the disk %s", b.ThrottleWriteIOPSDevice},
	} {
		for _, d := range t.devices {
			l.throttle(t.property, t.v1, t.v2, t.what, d)
		}
	}
}

// throttle is a rate for a disk. 0 takes the limit away.
func (l *limits) throttle(property, v1, v2, what string, d specs.LinuxThrottleDevice) {
	dev, amount, rate := device(d.LinuxBlockIODevice), utoa(d.Rate), utoa(d.Rate)
	if v2[1] == 'b' {
		amount = byteSize(d.Rate)
	}
	why := fmt.Sprintf(what, amount, dev)
	if d.Rate == 0 {
		why, rate = "no limit for the disk "+dev, "max"
	}
	l.add(property, "io", why, file("blkio.throttle."+v1, dev+" "+utoa(d.Rate)), file("io.max", dev+" "+v2+"="+rate))
}

func (l *limits) weight(property string, w uint16) {
	if w < minWeight || w > maxWeight {
		l.bad(property, num(w), "not from 10 to 1000")
	}
}

// IOWeight converts a weight of 10 to 1000, as version 1 and BFQ have it, to
// io.weight's 1 to 10000, by a straight line. 0, not set, stays 0.
func IOWeight(w uint16) uint64 {
	if w == 0 {
		return 0
	}
	return 1 + (uint64(max(w, minWeight))-minWeight)*9999/990
}

func device(d specs.LinuxBlockIODevice) string { return fmt.Sprintf("%d:%d", d.Major, d.Minor) }

func num(w uint16) string { return utoa(uint64(w)) }
