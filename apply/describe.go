package apply

import (
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// nouns are what the kinds of messages are about.
var nouns = map[int]string{
	unix.NFT_MSG_NEWTABLE:     "table",
	unix.NFT_MSG_NEWCHAIN:     "chain",
	unix.NFT_MSG_NEWSET:       "set",
	unix.NFT_MSG_NEWSETELEM:   "element",
	unix.NFT_MSG_NEWOBJ:       "object",
	unix.NFT_MSG_NEWFLOWTABLE: "flowtable",
	unix.NFT_MSG_NEWRULE:      "rule",
}

var families = map[uint8]string{
	unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6",
	unix.NFPROTO_ARP: "arp", unix.NFPROTO_NETDEV: "netdev", unix.NFPROTO_BRIDGE: "bridge",
}

// describe says what a message is about, for people.
func describe(m netlink.Message) string {
	i := item{message: m}
	kind, table := made(i), nfnetlink.TableOf(m)
	in := fmt.Sprintf("table %s %q", families[table.Family], table.Name)
	noun := nouns[kind]
	switch kind {
	case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_DELTABLE:
		return in
	case unix.NFT_MSG_NEWRULE:
		return fmt.Sprintf("a rule in chain %q of %s", i.name(), in)
	case unix.NFT_MSG_NEWSETELEM:
		return fmt.Sprintf("an element of set %q of %s", i.name(), in)
	}
	return fmt.Sprintf("%s %q of %s", noun, i.name(), in)
}
