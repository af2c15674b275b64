package ipset

import "strings"

// A Part is one dimension of a type of sets.
type Part uint8

// The parts.
const (
	IP     Part = iota + 1 // an address
	Net                    // a network
	Port                   // a protocol and a port, or a type and a code of ICMP
	MAC                    // an Ethernet address
	Mark                   // a packet mark
	Iface                  // the name of a device
	Member                 // the name of another set
)

// A Type is a type of sets.
type Type struct {
	Name  string
	Parts []Part
	// Bitmap is a type whose elements lie in a range.
	Bitmap bool
	// Families says that a set of the type has an address family; others serve
	// both.
	Families bool
	// aliases are the names of older versions.
	aliases []string
	// takes are the options of "create" beside those that every type has.
	takes string
}

const hashOptions = " hashsize maxelem bucketsize initval forceadd "

// Types are the types of ipset 7.17, sorted by name.
//
// Source: ipset's manual page; which options "create" takes was tried with ipset
// 7.17, of the types that the kernel at hand lacks it is taken from the manual.
var Types = []*Type{
	{Name: "bitmap:ip", Parts: []Part{IP}, Bitmap: true, aliases: []string{"ipmap"}, takes: " range netmask "},
	{Name: "bitmap:ip,mac", Parts: []Part{IP, MAC}, Bitmap: true, aliases: []string{"macipmap"}, takes: " range "},
	{Name: "bitmap:port", Parts: []Part{Port}, Bitmap: true, aliases: []string{"portmap"}, takes: " range "},
	{Name: "hash:ip", Parts: []Part{IP}, Families: true, aliases: []string{"iphash"}, takes: hashOptions + " netmask bitmask "},
	{Name: "hash:ip,mac", Parts: []Part{IP, MAC}, Families: true, takes: hashOptions},
	{Name: "hash:ip,mark", Parts: []Part{IP, Mark}, Families: true, takes: hashOptions + " markmask "},
	{Name: "hash:ip,port", Parts: []Part{IP, Port}, Families: true, aliases: []string{"ipporthash"}, takes: hashOptions + " netmask bitmask "},
	{Name: "hash:ip,port,ip", Parts: []Part{IP, Port, IP}, Families: true, aliases: []string{"ipportiphash"}, takes: hashOptions},
	{Name: "hash:ip,port,net", Parts: []Part{IP, Port, Net}, Families: true, aliases: []string{"ipportnethash"}, takes: hashOptions},
	{Name: "hash:mac", Parts: []Part{MAC}, aliases: []string{"machash"}, takes: hashOptions},
	{Name: "hash:net", Parts: []Part{Net}, Families: true, aliases: []string{"nethash"}, takes: hashOptions},
	{Name: "hash:net,iface", Parts: []Part{Net, Iface}, Families: true, aliases: []string{"netifacehash"}, takes: hashOptions},
	{Name: "hash:net,net", Parts: []Part{Net, Net}, Families: true, aliases: []string{"netnethash"}, takes: hashOptions + " netmask bitmask "},
	{Name: "hash:net,port", Parts: []Part{Net, Port}, Families: true, aliases: []string{"netporthash"}, takes: hashOptions},
	{Name: "hash:net,port,net", Parts: []Part{Net, Port, Net}, Families: true, aliases: []string{"netportnethash"}, takes: hashOptions},
	{Name: "list:set", Parts: []Part{Member}, aliases: []string{"setlist"}, takes: " size "},
}

// TypeOf returns the type of a name, or nil.
func TypeOf(name string) *Type {
	for _, t := range Types {
		if t.Name == name {
			return t
		}
		for _, a := range t.aliases {
			if a == name {
				return t
			}
		}
	}
	return nil
}

func (t *Type) accepts(option string) bool { return strings.Contains(t.takes, " "+option+" ") }

// has reports whether the type has a part.
func (t *Type) has(p Part) bool {
	for _, q := range t.Parts {
		if q == p {
			return true
		}
	}
	return false
}

// Nomatch reports whether elements of the type can be exceptions.
func (t *Type) Nomatch() bool { return t.has(Net) }

// IsList reports whether elements are sets.
func (t *Type) IsList() bool { return t.has(Member) }
