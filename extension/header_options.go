package extension

import (
	"fmt"
	"strings"

	"nftmigrate/diag"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// A headerOptions is a list of options of an IPv6 header, each a type, or a type
// and a length: "5:2,1".
type headerOptions []headerOption

// A headerOption is a type, and with sized the length of what the option holds.
type headerOption struct {
	kind, length uint8
	sized        bool
}

// anyLength is the length that asks for none.
const anyLength = 255

// Set reads types and lengths with commas between them.
func (o *headerOptions) Set(arg string) error {
	const most = 16
	*o = nil
	for part := range strings.SplitSeq(arg, ",") {
		kind, length, both := strings.Cut(part, ":")
		n, err := iptables.ParseNumber(kind, 255)
		if err != nil {
			return fmt.Errorf("the type %w", err)
		}
		option := headerOption{kind: uint8(n), sized: both}
		if both {
			if n, err = iptables.ParseNumber(length, 255); err != nil {
				return fmt.Errorf("the length %w", err)
			}
			option.length, option.sized = uint8(n), n != anyLength
		}
		*o = append(*o, option)
	}
	if len(*o) > most {
		return fmt.Errorf("there are %d options, and at most %d are compared", len(*o), most)
	}
	return nil
}

// String returns the list.
func (o *headerOptions) String() string {
	list := make([]string, len(*o))
	for i, option := range *o {
		list[i] = fmt.Sprint(option.kind)
		if option.sized {
			list[i] += fmt.Sprint(":", option.length)
		}
	}
	return strings.Join(list, ",")
}

// optionsMeaning is what a list says of a header.
func optionsMeaning(number uint8, list headerOptions) predicate.Predicate {
	walk := predicate.HeaderOptions{Header: number}
	for _, o := range list {
		walk.List = append(walk.List, predicate.HeaderOption{Type: o.kind, Length: o.length, Sized: o.sized})
	}
	return predicate.Stateful{Instance: walk}
}

// refuse is why a list has no translation.
func (headerOptions) refuse(name string, where diag.Range) error {
	return &translate.Untranslatable{
		Summary: name + " has no nftables counterpart",
		Detail: "The header of destination options can stand behind others, so that its options have no place, and nft has no names for them. " +
			"Match the header, or its length.",
		Range: where,
	}
}

const (
	// optionsWays is how many alternatives become rules of their own.
	optionsWays = 64
	// optionsReach is how many bytes of a header right behind the IPv6 header can be
	// loaded.
	optionsReach = rawReach - 40
)

// An optionsWay is one way in which the options of a list can lie in a header: the
// tests of their bytes, and how long the header has to be.
type optionsWay struct {
	tests []nftgen.Stmt
	end   int
}

// ways are the ways in which a list begins a header of at most so many bytes, right
// behind the IPv6 header. ok is false when there are too many.
func (o headerOptions) ways(most int) (list []optionsWay, ok bool) {
	const ipv6, before = 40, 2
	ok = true
	var lay func(rest headerOptions, at int, tests []nftgen.Stmt)
	lay = func(rest headerOptions, at int, tests []nftgen.Stmt) {
		is := func(offset int, b uint8) nftgen.Stmt {
			return nftgen.Compare{Field: nftgen.NetworkBytes(nftgen.IP6, ipv6+offset, 1), Op: nftgen.Eq, Value: nftgen.Value{b}}
		}
		tests = tests[:len(tests):len(tests)]
		switch {
		case !ok:
		case len(rest) == 0:
			list = append(list, optionsWay{tests, at})
			ok = len(list) <= optionsWays
		case rest[0].kind == 0 && at < most:
			lay(rest[1:], at+1, append(tests, is(at, 0)))
		case at+2 > most:
			// It does not fit.
		default:
			tests = append(tests, is(at, rest[0].kind))
			given := rest[0].sized
			switch {
			case given && len(rest) == 1:
				list = append(list, optionsWay{append(tests, is(at+1, rest[0].length)), at + 2})
			case given:
				lay(rest[1:], at+2+int(rest[0].length), append(tests, is(at+1, rest[0].length)))
			case len(rest) == 1:
				list = append(list, optionsWay{tests, at + 2})
			default:
				for n := 0; n < 256 && at+2+n <= most && ok; n++ {
					lay(rest[1:], at+2+n, append(tests, is(at+1, uint8(n))))
				}
			}
			ok = ok && len(list) <= optionsWays
		}
	}
	lay(o, before, nil)
	return list, ok
}
