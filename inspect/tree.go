// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"cmp"
	"slices"
	"strconv"
)

// A Query says what of a snapshot is to be shown. The zero value is all of it,
// by ownership.
type Query struct {
	PIDs    []int  // only the namespaces that these are in, and those above them
	Kinds   []Kind // only these; nil: all
	ByPID   bool   // PID namespaces, in each other, in place of ownership
	Subtree int    // only what is below this process's user namespace (or PID namespace, ByPID)
	AllPIDs bool   // every process of a shown namespace, not only PIDs or the first
	Threads bool   // with PIDs: the namespaces of their threads too
	Deep    bool   // with PIDs: those that they only hold open, or will put their children in
}

// A Tree is a snapshot as it is shown.
type Tree struct {
	Roots  []*Node
	ByPID  bool
	Hidden Hidden
}

// A Node is a namespace in a tree.
type Node struct {
	*Namespace
	// Members are the processes to show: the first one, or those that were asked
	// for (Chosen). More is how many there are besides.
	Members []*Process
	Chosen  bool
	More    int
	// Containers are those that its processes are in, each once.
	Containers []*Container
	Children   []*Node
	Above      bool // shown only since it is above one that was asked for
}

// A NoProcessError is a PID that no namespace has.
type NoProcessError struct {
	PID    int
	Hidden bool
}

func (e *NoProcessError) Error() string {
	if e.Hidden {
		return "look at the namespaces of process " + strconv.Itoa(e.PID) + ": permission denied"
	}
	return "look at the namespaces of process " + strconv.Itoa(e.PID) + ": there is no such process"
}

// Hint says what to do.
func (e *NoProcessError) Hint() string {
	if e.Hidden {
		return "it is another user's: run vitro as root"
	}
	return ""
}

// Tree puts the snapshot's namespaces in the order in which they own, or
// contain, each other.
func (s *Snapshot) Tree(q Query) (*Tree, error) {
	b := &builder{s: s, q: q, nodes: make(map[uint64]*Node)}
	if err := b.choose(); err != nil {
		return nil, err
	}
	t := &Tree{ByPID: q.ByPID, Hidden: s.Hidden}
	top, err := b.subtree()
	if err != nil {
		return nil, err
	}
	t.Roots = b.hang()
	if top != 0 {
		t.Roots = nil
		if n := b.nodes[top]; n != nil {
			t.Roots = []*Node{n}
		}
	}
	return t, nil
}

// builder makes a tree.
type builder struct {
	s     *Snapshot
	q     Query
	nodes map[uint64]*Node
}

// choose makes the nodes of the namespaces that were asked for, and of those
// above them.
func (b *builder) choose() error {
	for _, pid := range b.q.PIDs {
		if b.of(pid, PID) == 0 && b.of(pid, User) == 0 && b.of(pid, Mount) == 0 {
			return &NoProcessError{pid, b.s.Process(pid) != nil}
		}
	}
	for _, n := range b.s.Namespaces {
		if b.wanted(n) {
			b.nodes[n.ID] = b.node(n)
		}
	}
	if b.q.Kinds != nil && !b.q.ByPID && !slices.Contains(b.q.Kinds, User) {
		return nil
	}
	for _, n := range b.nodes {
		for id := b.above(n.Namespace); id != 0 && b.nodes[id] == nil; {
			up := b.s.Find(id)
			if up == nil {
				break
			}
			b.nodes[id] = &Node{Namespace: up, Above: true}
			if !b.q.PIDsOnly() {
				*b.nodes[id] = *b.node(up)
			}
			id = b.above(up)
		}
	}
	return nil
}

// PIDsOnly reports whether processes were chosen.
func (q Query) PIDsOnly() bool { return len(q.PIDs) > 0 }

// of is the namespace of a kind that a process is in; 0 if it is not known.
func (b *builder) of(pid int, k Kind) uint64 {
	for _, n := range b.s.Namespaces {
		if n.Kind == k && contains(n.Processes, pid) {
			return n.ID
		}
	}
	return 0
}

func contains(sorted []int, pid int) bool {
	_, ok := slices.BinarySearch(sorted, pid)
	return ok
}

func (b *builder) wanted(n *Namespace) bool {
	if b.q.ByPID {
		if n.Kind != PID {
			return false
		}
	} else if b.q.Kinds != nil && !slices.Contains(b.q.Kinds, n.Kind) {
		return false
	}
	if len(b.q.PIDs) == 0 {
		return true
	}
	return slices.ContainsFunc(b.q.PIDs, func(pid int) bool { return b.holds(n, pid) })
}

// holds reports whether a process is in a namespace, or has to do with it in
// one of the ways that the query asks for.
func (b *builder) holds(n *Namespace, pid int) bool {
	has := func(d Descriptor) bool { return d.PID == pid }
	return contains(n.Processes, pid) ||
		b.q.Threads && slices.ContainsFunc(n.Threads, func(t Thread) bool { return t.PID == pid }) ||
		b.q.Deep && (contains(n.Next, pid) || slices.ContainsFunc(n.Descriptors, has) || slices.ContainsFunc(n.Sockets, has))
}

// above is the namespace that another hangs below; 0 for none that is known.
func (b *builder) above(n *Namespace) uint64 {
	if b.q.ByPID {
		return n.Parent
	}
	return n.Owner
}

// node chooses the processes to show.
func (b *builder) node(n *Namespace) *Node {
	node := &Node{Namespace: n, Chosen: b.q.AllPIDs || len(b.q.PIDs) > 0}
	all := n.Processes
	shown := all
	switch {
	case b.q.AllPIDs:
	case len(b.q.PIDs) > 0:
		shown = nil
		for _, pid := range b.q.PIDs {
			if b.holds(n, pid) {
				shown = append(shown, pid)
			}
		}
		slices.Sort(shown)
		all = shown
	default:
		shown = n.first()
	}
	for _, pid := range shown {
		if p := b.s.Process(pid); p != nil {
			node.Members = append(node.Members, p)
			node.addContainer(p.Container)
		}
	}
	for _, pid := range n.holders() {
		if p := b.s.Process(pid); p != nil && len(n.Processes) == 0 {
			node.addContainer(p.Container)
		}
	}
	node.More = len(all) - len(node.Members)
	return node
}

func (n *Node) addContainer(c *Container) {
	if c != nil && !slices.ContainsFunc(n.Containers, func(o *Container) bool { return *o == *c }) {
		n.Containers = append(n.Containers, c)
	}
}

// subtree is the namespace that the query wants as the root; 0 for none.
func (b *builder) subtree() (uint64, error) {
	if b.q.Subtree == 0 {
		return 0, nil
	}
	kind := User
	if b.q.ByPID {
		kind = PID
	}
	id := b.of(b.q.Subtree, kind)
	if id == 0 {
		return 0, &NoProcessError{b.q.Subtree, b.s.Process(b.q.Subtree) != nil}
	}
	return id, nil
}

// hang puts each node below the one that it belongs to, and returns those that
// belong to none.
func (b *builder) hang() (roots []*Node) {
	for _, n := range b.s.Namespaces { // in their order
		node := b.nodes[n.ID]
		if node == nil {
			continue
		}
		up := b.nodes[b.above(n)]
		if up == nil || up == node {
			roots = append(roots, node)
			continue
		}
		up.Children = append(up.Children, node)
	}
	for _, n := range b.nodes {
		// User namespaces come last: what they own hangs below them.
		slices.SortStableFunc(n.Children, func(x, y *Node) int {
			last := func(n *Node) int {
				if n.Kind == User {
					return 1
				}
				return 0
			}
			return cmp.Or(cmp.Compare(last(x), last(y)), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.ID, y.ID))
		})
	}
	return roots
}

// Nodes calls do for each node from the roots on, with how deep it hangs.
func (t *Tree) Nodes(do func(n *Node, depth int)) {
	var walk func(list []*Node, depth int)
	walk = func(list []*Node, depth int) {
		for _, n := range list {
			do(n, depth)
			walk(n.Children, depth+1)
		}
	}
	walk(t.Roots, 0)
}
