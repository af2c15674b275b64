package nftsim

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/symbolic"
)

func init() { register("byteorder", decodeByteorder) }

// Byteorder turns numbers from host to network byte order, or back. Both are
// the same reversal on a little-endian host and nothing on a big-endian one.
//
// Kernel: net/netfilter/nft_byteorder.c.
type Byteorder struct {
	From, To Register
	ToHost   bool
	Len      int // bytes
	Size     int // of a number: 2, 4 or 8 bytes
}

func decodeByteorder(_ *scope, data []byte) (Instruction, error) {
	i := &Byteorder{}
	var op, length, size uint32
	err := decodeNest("byteorder", data,
		need(unix.NFTA_BYTEORDER_SREG, decodeRegister(&i.From)), need(unix.NFTA_BYTEORDER_DREG, decodeRegister(&i.To)),
		need(unix.NFTA_BYTEORDER_OP, decodeU32(&op)), need(unix.NFTA_BYTEORDER_LEN, decodeU32(&length)),
		need(unix.NFTA_BYTEORDER_SIZE, decodeU32(&size)))
	if err != nil {
		return nil, err
	}
	if op > unix.NFT_BYTEORDER_HTON {
		return nil, fmt.Errorf("operation %d", op)
	}
	if size != 2 && size != 4 && size != 8 || length > maxValue {
		return nil, fmt.Errorf("numbers of %d in %d bytes", size, length)
	}
	// Less than a number stays as it is; nft turns single bytes of a key so.
	if length%size != 0 && (length > size || i.From != i.To) {
		return nil, notModelled{fmt.Sprintf("numbers of %d in %d bytes", size, length)}
	}
	i.ToHost, i.Len, i.Size = op == unix.NFT_BYTEORDER_NTOH, int(length), int(size)
	if err := i.From.span(i.Len); err != nil {
		return nil, err
	}
	return i, i.To.span(i.Len)
}

func (i *Byteorder) String() string {
	op := "hton"
	if i.ToHost {
		op = "ntoh"
	}
	return fmt.Sprintf("[ byteorder reg %s = %s(reg %s, %d, %d) ]", i.To, op, i.From, i.Size, i.Len)
}

func (i *Byteorder) loads() (Register, int) { return i.To, i.Len }

func (i *Byteorder) exec(x *execution) result {
	if i.Len < i.Size {
		return proceed
	}
	var out [registerBytes]byte
	in := x.regs.load(i.From, i.Len)
	for at := 0; at < i.Len; at += i.Size {
		switch i.Size {
		case 2:
			binary.NativeEndian.PutUint16(out[at:], binary.BigEndian.Uint16(in[at:]))
		case 4:
			binary.NativeEndian.PutUint32(out[at:], binary.BigEndian.Uint32(in[at:]))
		case 8:
			binary.NativeEndian.PutUint64(out[at:], binary.BigEndian.Uint64(in[at:]))
		}
	}
	copy(x.regs.load(i.To, i.Len), out[:i.Len])
	return proceed
}

func (i *Byteorder) symbolic(x *symbolicRun) {
	if i.Len < i.Size {
		return
	}
	// What the path takes is followed to the option that it is written to.
	turned := map[heldKind]heldKind{pathSegment: pathSegmentBE, pathSegmentBE: pathSegment}
	if to, ok := turned[x.holding(i.From, i.Len).kind]; ok && i.Len == 2 {
		x.mark(i.To, i.Len, to, 0)
		return
	}
	w, ok := x.load(i.From, i.Len)
	if !ok {
		return
	}
	var out symbolic.Word
	for at := 0; at < len(w); at += 8 * i.Size {
		out = append(out, symbolic.SwapNative(w[at:at+8*i.Size])...)
	}
	x.storeBytes(i.To, out)
}
