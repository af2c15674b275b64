package apply

import (
	"fmt"

	"github.com/mdlayher/netlink"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
)

// A kernel is what a commit needs of the kernel of one namespace.
type kernel interface {
	namespace() (inode uint64, err error)
	send(batch []netlink.Message, generation uint32) error
	dump(tables []nfnetlink.Table) (*nfnetlink.Dump, error)
}

// A socket is the real kernel.
type socket struct {
	conn *nfnetlink.Conn
}

var _ kernel = socket{}

// dial opens a socket inside a namespace.
func dial(ns *netns.NS) (socket, error) {
	var s socket
	err := ns.Do(func() (err error) {
		s.conn, err = nfnetlink.Dial()
		return err
	})
	if err != nil {
		return s, fmt.Errorf("reach the kernel: %w", err)
	}
	return s, nil
}

func (s socket) namespace() (uint64, error) { return s.conn.Namespace() }

func (s socket) send(batch []netlink.Message, generation uint32) error {
	return nfnetlink.Send(s.conn, batch, nfnetlink.Options{Generation: &generation})
}

func (s socket) dump(tables []nfnetlink.Table) (*nfnetlink.Dump, error) {
	return nfnetlink.DumpRuleset(s.conn, tables...)
}
