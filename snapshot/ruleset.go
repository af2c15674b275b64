package snapshot

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/xtables"
)

// byteOrder is that of the data of xt expressions.
var byteOrder = binary.NativeEndian

// Numbers of nf_tables that x/sys lacks.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h.
const (
	flagDormant = 1 // NFT_TABLE_F_DORMANT
	flagOwner   = 2 // NFT_TABLE_F_OWNER
	tableOwner  = 7 // NFTA_TABLE_OWNER
	hookDevice  = 3 // NFTA_HOOK_DEV
	hookDevices = 4 // NFTA_HOOK_DEVS
	familySize  = 4 // of struct nfgenmsg
)

// eachSetNumber calls f for each mention of a set of ipset in rules of nf_tables,
// with the bytes of its number, which are those of the message, and whether the
// rule changes the set.
//
// Kernel: net/netfilter/nft_compat.c.
func eachSetNumber(messages []netlink.Message, f func(number []byte, changes bool)) {
	eachXT(messages, func(target bool, name string, revision uint8, data []byte) {
		for _, at := range xtables.SetsAt(target, name, revision, data) {
			if number := data[at : at+2]; byteOrder.Uint16(number) != 1<<16-1 {
				f(number, target)
			}
		}
	})
}

// eachXT calls f for each xt expression of rules.
func eachXT(messages []netlink.Message, f func(target bool, name string, revision uint8, data []byte)) {
	for _, m := range messages {
		if kind, ok := nfnetlink.Kind(m); !ok || kind != unix.NFT_MSG_NEWRULE {
			continue
		}
		for _, e := range nfnetlink.Nested(nfnetlink.Find(nfnetlink.Attributes(m), unix.NFTA_RULE_EXPRESSIONS)) {
			expression := nfnetlink.Nested(e.Data)
			kind := nfnetlink.FindString(expression, unix.NFTA_EXPR_NAME)
			if kind != "match" && kind != "target" {
				continue
			}
			// The attributes of both have the same numbers: name, revision, data.
			data := nfnetlink.Nested(nfnetlink.Find(expression, unix.NFTA_EXPR_DATA))
			f(kind == "target", nfnetlink.FindString(data, unix.NFTA_MATCH_NAME),
				uint8(nfnetlink.Number(data, unix.NFTA_MATCH_REV)), nfnetlink.Find(data, unix.NFTA_MATCH_INFO))
		}
	}
}

// clone returns messages that share no memory with others.
func clone(messages []netlink.Message) []netlink.Message {
	all := slices.Clone(messages)
	for i := range all {
		all[i].Data = bytes.Clone(all[i].Data)
	}
	return all
}

// byTable sorts messages to their tables.
func byTable(messages []netlink.Message) map[nfnetlink.Table][]netlink.Message {
	tables := map[nfnetlink.Table][]netlink.Message{}
	for _, m := range messages {
		t := nfnetlink.TableOf(m)
		tables[t] = append(tables[t], m)
	}
	return tables
}

// tablesOf returns the tables in the order of the messages.
func tablesOf(messages []netlink.Message) []nfnetlink.Table {
	return (&nfnetlink.Dump{Messages: messages}).Tables()
}

func tableFlags(m netlink.Message) uint32 {
	return nfnetlink.Number(nfnetlink.Attributes(m), unix.NFTA_TABLE_FLAGS)
}

// flagsOf returns the flags of the table that messages are about.
func flagsOf(messages []netlink.Message) uint32 {
	for _, m := range messages {
		if kind, _ := nfnetlink.Kind(m); kind == unix.NFT_MSG_NEWTABLE {
			return tableFlags(m)
		}
	}
	return 0
}

// withFlags returns messages in which the tables have other flags.
func withFlags(messages []netlink.Message, change func(flags uint32) uint32) []netlink.Message {
	all := slices.Clone(messages)
	for i, m := range all {
		if kind, _ := nfnetlink.Kind(m); kind != unix.NFT_MSG_NEWTABLE || len(m.Data) < familySize {
			continue
		}
		flags := change(tableFlags(m))
		data := slices.Clone(m.Data[:familySize])
		hasFlags := false
		for _, a := range nfnetlink.Attributes(m) {
			switch a.Type {
			case unix.NFTA_TABLE_FLAGS:
				hasFlags = true
				data = nfnetlink.AppendUint32(data, a.Type, flags)
			case tableOwner:
				if flags&flagOwner != 0 {
					data = nfnetlink.AppendAttr(data, a.Type, a.Data)
				}
			default:
				data = nfnetlink.AppendAttr(data, a.Type, a.Data)
			}
		}
		if !hasFlags {
			data = nfnetlink.AppendUint32(data, unix.NFTA_TABLE_FLAGS, flags)
		}
		all[i].Data = data
	}
	return all
}

func asleep(flags uint32) uint32 { return flags | flagDormant }

// needsDevices reports whether things in the messages can only be where certain
// devices are: chains at the ingress or egress of devices, and flowtables.
func needsDevices(messages []netlink.Message) bool {
	return slices.ContainsFunc(messages, func(m netlink.Message) bool {
		switch kind, _ := nfnetlink.Kind(m); kind {
		case unix.NFT_MSG_NEWFLOWTABLE:
			return true
		case unix.NFT_MSG_NEWCHAIN:
			hook := nfnetlink.Nested(nfnetlink.Find(nfnetlink.Attributes(m), unix.NFTA_CHAIN_HOOK))
			return nfnetlink.Find(hook, hookDevice) != nil || nfnetlink.Find(hook, hookDevices) != nil
		}
		return false
	})
}

// hasHooks reports whether the messages have a base chain.
func hasHooks(messages []netlink.Message) bool {
	return slices.ContainsFunc(messages, func(m netlink.Message) bool {
		kind, _ := nfnetlink.Kind(m)
		return kind == unix.NFT_MSG_NEWCHAIN && nfnetlink.Find(nfnetlink.Attributes(m), unix.NFTA_CHAIN_HOOK) != nil
	})
}
