// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vitro/network/usernet"
)

// A namespace is U.net, with a thread in it that does what has to be done there.
type namespace struct {
	file *os.File
	jobs chan func()
}

// openNamespace makes it, or takes over the one that is at usernet.NetFD.
func openNamespace(again bool) (*namespace, error) {
	n := &namespace{jobs: make(chan func())}
	entered := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: it can't go back
		err := n.enter(again)
		entered <- err
		for job := range n.jobs {
			job()
		}
	}()
	if err := <-entered; err != nil {
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	if err := n.do(sendBack); err != nil {
		return nil, fmt.Errorf("have answers to clients sent back: %w", err)
	}
	return n, nil
}

func (n *namespace) enter(again bool) error {
	var err error
	if again {
		err = unix.Setns(usernet.NetFD, unix.CLONE_NEWNET)
		unix.Close(usernet.NetFD)
	} else {
		err = unix.Unshare(unix.CLONE_NEWNET)
	}
	if err == nil {
		n.file, err = os.Open("/proc/thread-self/ns/net")
	}
	return err
}

// do calls f in the namespace.
func (n *namespace) do(f func() error) (err error) {
	done := make(chan struct{})
	n.jobs <- func() {
		err = f()
		close(done)
	}
	<-done
	return err
}

// clientMark is of connections that come from outside, for a client that is not in
// here: "vt". The kernel would send answers for its address out again.
const (
	clientMark  = 0x7674
	clientTable = 0x7674
	tableName   = "vitro-clients"
)

// sendBack has the kernel hand packets for a client's address to the socket
// here that speaks in the client's name (IP_TRANSPARENT; the kernel's
// tproxy.txt says more): the rules know the connection by its first packet,
// whose source is nobody's in here.
func sendBack() error {
	for _, family := range [...]int{unix.AF_INET, unix.AF_INET6} {
		if err := routeBack(family); err != nil && !(family == unix.AF_INET6 && noIPv6()) {
			return err
		}
	}
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := c.AddTable(&nftables.Table{Name: tableName, Family: nftables.TableFamilyINet})
	c.FlushTable(t) // of one that was killed
	mark := binaryutil.NativeEndian.PutUint32(clientMark)
	out := c.AddChain(&nftables.Chain{Name: "begin", Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityMangle})
	in := c.AddChain(&nftables.Chain{Name: "answer", Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle})
	c.AddRule(&nftables.Rule{Table: t, Chain: out, Exprs: []expr.Any{
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagSADDR: true},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
		&expr.Immediate{Register: 1, Data: mark},
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true},
	}})
	c.AddRule(&nftables.Rule{Table: t, Chain: in, Exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: mark},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	}})
	return c.Flush()
}

func noIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err != nil
}

// routeBack makes the routes for marked packets.
func routeBack(family int) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	all := &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	if family == unix.AF_INET6 {
		all = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	route := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: all, Table: clientTable, Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST, Family: family}
	if err := netlink.RouteReplace(route); err != nil {
		return err
	}
	rule := netlink.NewRule()
	rule.Family, rule.Mark, rule.Table = family, clientMark, clientTable
	if err := netlink.RuleAdd(rule); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}
