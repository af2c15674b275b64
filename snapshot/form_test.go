package snapshot

import (
	"crypto/sha256"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

type message = netlink.Message

// sealed returns a file with a body and the checksum of it.
func sealed(body []byte) []byte {
	return append(fmt.Appendf(nil, "%s %d %d %x\n", title, version, len(body), sha256.Sum256(body)), body...)
}

// tableBatch makes or deletes a table of IPv6.
func tableBatch(kind int, name string) []netlink.Message {
	return []netlink.Message{tableMessage(kind, netlink.Create, nfnetlink.Table{Family: unix.NFPROTO_IPV6, Name: name}, 0)}
}
