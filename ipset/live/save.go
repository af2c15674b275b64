package live

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ErrUnsupported is wrapped when the kernel has no ipset at all, and so no sets.
var ErrUnsupported = errors.New("the kernel has no ipset")

// Numbers of the protocol, with their names in ip_set.h.
const (
	subsystem   = 6 // NFNL_SUBSYS_IPSET
	commandSave = 8 // IPSET_CMD_SAVE
	// protocol is what all kernels answer: older ones want this number, newer ones
	// at least this one (IPSET_PROTOCOL_MIN).
	protocol = 6
	// headerSize is that of struct nfgenmsg.
	headerSize = 4
	// readSize is the most that the kernel puts into one read of a dump.
	readSize = 32 << 10
)

// Save returns all sets of the network namespace of the calling thread; call it
// inside netns.NS.Do. The text is nil when there are none. Elements that expire
// carry the seconds that are left. The kernel gives no lock on sets: what is
// added or deleted in the meantime may be there or not.
//
// It needs CAP_NET_ADMIN in the namespace; without, the error wraps EPERM. The
// kernel loads the module ip_set for it, as it does for "ipset save".
func Save() ([]byte, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{MessageBufferSize: readSize})
	if err != nil {
		return nil, fmt.Errorf("read the sets of the kernel: %w", err)
	}
	defer c.Close()
	attributes, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: attrProtocol, Data: []byte{protocol}}})
	if err != nil {
		return nil, fmt.Errorf("read the sets of the kernel: %w", err)
	}
	messages, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: subsystem<<8 | commandSave, Flags: netlink.Request | netlink.Dump},
		Data:   append(make([]byte, headerSize), attributes...),
	})
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPROTONOSUPPORT):
		return nil, fmt.Errorf("read the sets of the kernel: %w: %w", ErrUnsupported, err)
	case err != nil:
		return nil, fmt.Errorf("read the sets of the kernel: %w", err)
	}
	text, err := commands(messages)
	if err != nil {
		return nil, fmt.Errorf("read the sets of the kernel: %w", err)
	}
	return text, nil
}

// commands returns the commands that make the sets of a dump. A set is told in one
// message or several; only the first has its type.
func commands(messages []netlink.Message) ([]byte, error) {
	var (
		text    bytes.Buffer
		current set
	)
	for _, m := range messages {
		if len(m.Data) < headerSize {
			return nil, fmt.Errorf("a message of %d bytes is too short", len(m.Data))
		}
		d, err := netlink.NewAttributeDecoder(m.Data[headerSize:])
		if err != nil {
			return nil, err
		}
		var name, kind string
		var family uint8
		var header, elements []byte
		for d.Next() {
			switch d.Type() {
			case attrSetName:
				name = d.String()
			case attrTypeName:
				kind = d.String()
			case attrFamily:
				family = d.Uint8()
			case attrData:
				header = d.Bytes()
			case attrElements:
				elements = d.Bytes()
			}
		}
		if err := d.Err(); err != nil {
			return nil, err
		}
		if kind != "" {
			if current, err = newSet(name, kind, family, header); err != nil {
				return nil, err
			}
			text.WriteString(current.create)
		}
		if name != current.name {
			return nil, fmt.Errorf("the kernel tells elements of %q before what kind of set it is", name)
		}
		if err := current.add(&text, elements); err != nil {
			return nil, fmt.Errorf("set %q: %w", name, err)
		}
	}
	return text.Bytes(), nil
}
