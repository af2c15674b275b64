package nfnetlink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func newTable(name string) netlink.Message {
	return Message(unix.NFT_MSG_NEWTABLE, netlink.Create, unix.NFPROTO_INET, AppendString(nil, unix.NFTA_TABLE_NAME, name))
}

func TestEncodeBatch(t *testing.T) {
	generation := uint32(0x01020304)
	acknowledged := newTable("b")
	acknowledged.Header.Flags |= netlink.Acknowledge | netlink.Echo
	batch := []netlink.Message{border(unix.NFNL_MSG_BATCH_BEGIN, 99), acknowledged, newTable("c"), border(unix.NFNL_MSG_BATCH_END, 99)}
	wire, first, last := encodeBatch(batch, 100, &generation)
	messages, err := Unmarshal(wire)
	if err != nil {
		t.Fatal(err)
	}
	type header struct {
		Type     netlink.HeaderType
		Flags    netlink.HeaderFlags
		Sequence uint32
	}
	var got []header
	for _, m := range messages {
		got = append(got, header{m.Header.Type, m.Header.Flags, m.Header.Sequence})
	}
	want := []header{
		{unix.NFNL_MSG_BATCH_BEGIN, netlink.Request, 100},
		{unix.NFNL_SUBSYS_NFTABLES << 8, netlink.Request | netlink.Create, 102},
		{unix.NFNL_SUBSYS_NFTABLES << 8, netlink.Request | netlink.Create | netlink.Acknowledge, 103},
		{unix.NFNL_MSG_BATCH_END, netlink.Request, 105},
	}
	if diff := cmp.Diff(want, got); diff != "" || first != 100 || last != 2 {
		t.Errorf("first %d, last %d, headers (-want +got):\n%s", first, last, diff)
	}
	if id := Find(Attributes(messages[0]), unix.NFNL_BATCH_GENID); !bytes.Equal(id, []byte{1, 2, 3, 4}) {
		t.Errorf("generation is %x, want 01020304", id)
	}
	if wire, _, _ := encodeBatch(batch, 100, nil); len(wire) == 0 || bytes.Contains(wire, []byte{1, 2, 3, 4}) {
		t.Error("a batch without generation has one")
	}
	if _, first, _ := encodeBatch(batch, 1<<32-3, nil); first != 1 {
		t.Errorf("numbers start at %d, want 1 instead of an overflow", first)
	}
	if _, _, last := encodeBatch(batch[:1], 1, nil); last != -1 {
		t.Errorf("a batch of borders asks message %d for the receipt, want none", last)
	}
}

// reply is the kernel's answer to the message of a number.
func reply(sequence uint32, errno unix.Errno, offset int) netlink.Message {
	data := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
	data = append(data, make([]byte, unix.NLMSG_HDRLEN)...)
	m := netlink.Message{Header: netlink.Header{Type: netlink.Error, Sequence: sequence, Flags: flagCapped}}
	if offset > 0 {
		m.Header.Flags |= flagAckTLVs
		data = AppendAttr(data, unix.NLMSGERR_ATTR_OFFS, binary.NativeEndian.AppendUint32(nil, uint32(offset)))
	}
	m.Data = data
	return m
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name    string
		replies []netlink.Message
		overrun bool
		want    error
		is      []error
	}{
		{name: "receipt", replies: []netlink.Message{reply(13, 0, 0)}},
		{name: "silence", want: ErrNoReceipt},
		{name: "receipt of something else", replies: []netlink.Message{reply(12, 0, 0), reply(7, 0, 0)}, want: ErrNoReceipt},
		{name: "last message fine, one before it bad", replies: []netlink.Message{reply(12, unix.EINVAL, 28), reply(13, 0, 0)},
			want: &CommitError{Failures: []Failure{{Index: 1, Errno: unix.EINVAL, Offset: 28}}}, is: []error{unix.EINVAL}},
		{name: "two bad", replies: []netlink.Message{reply(11, unix.ENOENT, 0), reply(13, unix.EEXIST, 0)},
			want: &CommitError{Failures: []Failure{{Index: 0, Errno: unix.ENOENT}, {Index: 2, Errno: unix.EEXIST}}}, is: []error{unix.ENOENT, unix.EEXIST}},
		{name: "commit failed after all", replies: []netlink.Message{reply(10, unix.ENOMEM, 0), reply(13, 0, 0)},
			want: &CommitError{Failures: []Failure{{Index: BatchBegin, Errno: unix.ENOMEM}}}, is: []error{unix.ENOMEM}},
		{name: "stale", replies: []netlink.Message{reply(10, unix.ERESTART, 0)},
			want: &CommitError{Failures: []Failure{{Index: BatchBegin, Errno: unix.ERESTART}}}, is: []error{ErrStale, unix.ERESTART}},
		{name: "errors lost", replies: []netlink.Message{reply(11, unix.ENOENT, 0)}, overrun: true,
			want: &CommitError{Failures: []Failure{{Index: 0, Errno: unix.ENOENT}}, Incomplete: true}},
		{name: "all errors lost", overrun: true, want: ErrNoReceipt},
		{name: "errors lost beside a receipt", replies: []netlink.Message{reply(13, 0, 0)}, overrun: true, want: ErrNoReceipt},
		{name: "cut", replies: []netlink.Message{{Header: netlink.Header{Type: netlink.Error, Sequence: 11}, Data: []byte{1}}},
			want: &CommitError{Failures: []Failure{{Index: 0, Errno: unix.EBADMSG}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := reader{first: 10, receipt: 13, count: 3, overrun: c.overrun}
			for _, m := range c.replies {
				r.add(m)
			}
			got := r.result()
			if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b error) bool {
				x, xok := a.(*CommitError)
				y, yok := b.(*CommitError)
				return xok && yok && cmp.Equal(*x, *y) || a == b
			})); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
			for _, is := range c.is {
				if !errors.Is(got, is) {
					t.Errorf("%v is not %v", got, is)
				}
			}
		})
	}
}

// TestParseErrorUncapped is about kernels that return the whole request.
func TestParseErrorUncapped(t *testing.T) {
	request, negated := appendMessage(nil, newTable("abc")), -int32(unix.EPERM)
	m := netlink.Message{Header: netlink.Header{Type: netlink.Error, Flags: flagAckTLVs}}
	m.Data = append(binary.NativeEndian.AppendUint32(nil, uint32(negated)), request...)
	m.Data = AppendAttr(m.Data, unix.NLMSGERR_ATTR_OFFS, binary.NativeEndian.AppendUint32(nil, 20))
	if errno, offset := parseError(m); errno != unix.EPERM || offset != 20 {
		t.Errorf("error %v at %d, want EPERM at 20", errno, offset)
	}
}

func TestMarshalRoundTrip(t *testing.T) {
	want := []netlink.Message{newTable("a"), newTable("abcd"), {Header: netlink.Header{Type: 3, Flags: 5, Sequence: 7}, Data: []byte{1, 2, 3}}}
	got, err := Unmarshal(Marshal(want))
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d messages, error %v, want %d", len(got), err, len(want))
	}
	for i := range want {
		if got[i].Header.Type != want[i].Header.Type || got[i].Header.Flags != want[i].Header.Flags || !bytes.Equal(got[i].Data, want[i].Data) {
			t.Errorf("message %d is %v, want %v", i, got[i], want[i])
		}
	}
}

// FuzzUnmarshal reads any bytes as messages and does with them what is done
// with a dump and with a batch.
func FuzzUnmarshal(f *testing.F) {
	f.Add(Marshal([]netlink.Message{newTable("a"), sample()}))
	f.Add([]byte{16, 0, 0, 0})
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		messages, err := Unmarshal(b)
		if err != nil {
			return
		}
		once := Normalise(messages, 0)
		if twice := Normalise(once, 0); len(twice) != len(once) {
			t.Errorf("normalised once %d messages, twice %d", len(once), len(twice))
		}
		Replay(messages)
		for _, m := range messages {
			Locate(m, 30)
			parseError(m)
			SetsOf(m)
			Stored(m, m)
		}
	})
}
