package extension

import (
	"fmt"
	"strings"

	"nftmigrate/diag"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

// A headerOptions is a list of options of an IPv6 header, each a type, or a type
// and a length: "5:2,1".
type headerOptions []string

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
		text := fmt.Sprint(n)
		if both {
			if n, err = iptables.ParseNumber(length, 255); err != nil {
				return fmt.Errorf("the length %w", err)
			}
			text += fmt.Sprint(":", n)
		}
		*o = append(*o, text)
	}
	if len(*o) > most {
		return fmt.Errorf("there are %d options, and at most %d are compared", len(*o), most)
	}
	return nil
}

// String returns the list.
func (o *headerOptions) String() string { return strings.Join(*o, ",") }

// refuse is why the list has no translation.
func (headerOptions) refuse(name string, where diag.Range) error {
	return &translate.Untranslatable{
		Summary: name + " has no nftables counterpart",
		Detail:  "nftables does not walk the options of an IPv6 header. Match the header, or its length.",
		Range:   where,
	}
}
