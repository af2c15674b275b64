package nftgen

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ConnectionHelper is an object that gives a new connection the helper of a name,
// of a transport protocol, and of a family where that is not 0.
//
// Kernel: net/netfilter/nft_ct.c, nft_ct_helper_obj_init and
// nft_ct_helper_obj_eval.
type ConnectionHelper struct {
	Name     string
	Protocol uint8
	Family   Family
}

// helperProtocols are the protocols for which the text has words there.
var helperProtocols = map[uint8]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp"}

// helperFamilies are the words and the kernel's numbers of families.
var helperFamilies = map[Family]struct {
	word   string
	number uint16
}{Inet: {"inet", unix.NFPROTO_INET}, IP: {"ip", unix.NFPROTO_IPV4}, IP6: {"ip6", unix.NFPROTO_IPV6}}

// helperNameMax is the longest name of a helper.
//
// Kernel: include/net/netfilter/nf_conntrack_helper.h, NF_CT_HELPER_NAME_LEN.
const helperNameMax = 15

func (ConnectionHelper) number() uint32 { return 3 }
func (ConnectionHelper) word() string   { return "ct helper" }

func (h ConnectionHelper) check() error {
	switch {
	case h.Name == "" || len(h.Name) > helperNameMax || EscapeBytes(h.Name) != h.Name:
		return fmt.Errorf("%q is no name of a helper", h.Name)
	case helperProtocols[h.Protocol] == "":
		return fmt.Errorf("there are no words for protocol %d", h.Protocol)
	case helperFamilies[h.Family].word == "":
		return fmt.Errorf("there is no family %d", h.Family)
	}
	return nil
}

func (h ConnectionHelper) lines() []string {
	return []string{
		fmt.Sprintf("type %q protocol %s", h.Name, helperProtocols[h.Protocol]),
		"l3proto " + helperFamilies[h.Family].word,
	}
}

// Attributes of a helper object.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_ct_helper_attributes.
const (
	helperNameAttribute   = 1
	helperFamilyAttribute = 2
	helperProtoAttribute  = 3
)

func (h ConnectionHelper) data() attributes {
	var a attributes
	a.text(helperNameAttribute, h.Name)
	a.u16(helperFamilyAttribute, helperFamilies[h.Family].number)
	a.bytes(helperProtoAttribute, h.Protocol)
	return a
}

func (ConnectionHelper) use(name string) string { return fmt.Sprintf("ct helper set %q", name) }
