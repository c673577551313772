// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"path/filepath"
	"strings"

	"vitro/plan"
)

// Announce writes down by which names a container is known on a network, for those who answer its
// members' questions: the file names/ID in the network's folder has one line,
//
//	ADDRESS[,ADDRESS6] NAME SHORT-ID ALIAS…
//
// with single spaces between, as long as the container is on the network. It
// appears whole, and who reads the folder passes over names with a dot in front.
type Announce struct {
	Network Network `json:"network"`
	ID      string  `json:"id"`
	Entry   string  `json:"entry"`
}

func (a *Announce) file() string    { return filepath.Join(a.Network.names(), a.ID) }
func (a *Announce) Verb() string    { return "announce" }
func (a *Announce) Undo() plan.Host { return &Retract{Network: a.Network, ID: a.ID} }
func (a *Announce) Line() string    { return fmt.Sprintf("announce %s in %s", a.Entry, a.Network.names()) }

func (a *Announce) Shell(s *plan.Script) {
	s.Run("echo %s >%s", plan.Quote(a.Entry), plan.Quote(a.file()))
	a.Undo().Shell(s.Undoing())
}

func (a *Announce) Do(*plan.Env) error {
	return replace(a.file(), []byte(a.Entry+"\n"))
}

// Retract removes what Announce has written.
type Retract struct {
	Network Network `json:"network"`
	ID      string  `json:"id"`
}

func (a *Retract) file() string         { return filepath.Join(a.Network.names(), a.ID) }
func (a *Retract) Verb() string         { return "retract" }
func (a *Retract) Undo() plan.Host      { return nil }
func (a *Retract) Line() string         { return "rm " + a.file() }
func (a *Retract) Shell(s *plan.Script) { s.Run("rm -f %s", plan.Quote(a.file())) }
func (a *Retract) Do(*plan.Env) error   { return remove(a.file()) }

// announcement is the line for a container's endpoint.
func announcement(name, id string, e Endpoint) string {
	addresses := e.Address.Addr().String()
	if e.Address6.IsValid() {
		addresses += "," + e.Address6.Addr().String()
	}
	if name == "" {
		name = short(id)
	}
	return strings.Join(append([]string{addresses, name, short(id)}, e.Aliases...), " ")
}
