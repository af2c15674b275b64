package live

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
)

// nest returns attributes as a value.
func nest(attributes ...netlink.Attribute) []byte {
	b, err := netlink.MarshalAttributes(attributes)
	if err != nil {
		panic(err)
	}
	return b
}

func attr(kind uint16, value ...byte) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: value}
}

func addr4(kind uint16, a ...byte) netlink.Attribute {
	return attr(kind, nest(attr(addressIPv4, a...))...)
}

func be32(kind uint16, n uint32) netlink.Attribute {
	return attr(kind, binary.BigEndian.AppendUint32(nil, n)...)
}

// dump returns the message of a set of IPv4 with elements.
func dump(name, kind string, header []byte, elements ...[]byte) netlink.Message {
	var list []netlink.Attribute
	for _, e := range elements {
		list = append(list, attr(attrData, e...))
	}
	return netlink.Message{Data: append(make([]byte, headerSize), nest(attr(attrSetName, append([]byte(name), 0)...),
		attr(attrTypeName, append([]byte(kind), 0)...), attr(attrFamily, 2), attr(attrData, header...), attr(attrElements, nest(list...)...))...)}
}

// TestCommands reads types that the kernel of the tests lacks, as ip_set_hash_*.c
// write them.
func TestCommands(t *testing.T) {
	size := be32(setHashSize, 64)
	mac := attr(elemEther, 0, 1, 2, 10, 4, 5)
	for _, c := range []struct {
		m    netlink.Message
		want string
	}{
		{dump("m", "hash:mac", nest(size), nest(mac)), "create m hash:mac hashsize 64\nadd m 00:01:02:0A:04:05\n"},
		{dump("m", "hash:ip,mac", nest(size), nest(addr4(dataIP, 1, 2, 3, 4), mac)), "create m hash:ip,mac family inet hashsize 64\nadd m 1.2.3.4,00:01:02:0A:04:05\n"},
		{dump("m", "hash:ip,mark", nest(be32(dataMask, 0xffff), size), nest(addr4(dataIP, 1, 2, 3, 4), be32(dataMark, 7))),
			"create m hash:ip,mark family inet markmask 0x0000ffff hashsize 64\nadd m 1.2.3.4,0x00000007\n"},
		{dump("m", "hash:net,net", nest(size), nest(addr4(dataIP, 10, 0, 0, 0), attr(dataCIDR, 8), addr4(elemIP2, 192, 168, 0, 0), attr(elemCIDR2, 0), be32(dataFlags, flagNomatch))),
			"create m hash:net,net family inet hashsize 64\nadd m 10.0.0.0/8,192.168.0.0/0 nomatch\n"},
		{dump("m", "hash:net,port,net", nest(size), nest(addr4(dataIP, 10, 0, 0, 0), attr(dataCIDR, 32), attr(dataPort, 0, 7), attr(dataProto, 17), addr4(elemIP2, 1, 2, 3, 4), attr(elemCIDR2, 16))),
			"create m hash:net,port,net family inet hashsize 64\nadd m 10.0.0.0,udp:7,1.2.3.4/16\n"},
	} {
		got, err := commands([]netlink.Message{c.m})
		if err != nil || string(got) != c.want {
			t.Errorf("commands = %q, %v; want %q", got, err, c.want)
		}
	}
}

// TestCommandsRefused plants what a set could not be read without.
func TestCommandsRefused(t *testing.T) {
	plain := nest(addr4(dataIP, 1, 2, 3, 4))
	stray := dump("m", "hash:ip", nil, plain)
	other := dump("n", "", nil, plain)
	for name, messages := range map[string][]netlink.Message{
		"too short":                     {{Data: []byte{1, 2}}},
		"none of ipset 7.17":            {dump("m", "hash:moon", nil)},
		"attribute 99":                  {dump("m", "hash:ip", nest(attr(99, 1)))},
		"attribute 98":                  {dump("m", "hash:ip", nil, nest(attr(98, 1)))},
		"flags 0x8000":                  {dump("m", "hash:ip", nest(be32(dataFlags, 1<<15)))},
		"flags 0x4000":                  {dump("m", "hash:ip", nil, nest(addr4(dataIP, 1, 2, 3, 4), be32(dataFlags, 1<<14)))},
		"has no address":                {dump("m", "hash:ip", nil, nest(attr(dataCIDR, 1)))},
		"of 3 bytes is no address":      {dump("m", "hash:ip", nil, nest(addr4(dataIP, 1, 2, 3)))},
		"an address is missing":         {dump("m", "hash:ip", nil, nest(attr(dataIP)))},
		"a number of 9 bytes":           {dump("m", "hash:ip", nil, nest(attr(elemBytes, make([]byte, 9)...)))},
		"an Ethernet address has 1":     {dump("m", "hash:mac", nil, nest(attr(elemEther, 1)))},
		"before what kind of set it is": {stray, other},
	} {
		if got, err := commands(messages); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("commands = %q, %v; want an error with %q", got, err, name)
		}
	}
}
