package nftsim

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

func init() {
	register("match", decodeXtMatch)
	register("target", decodeXtTarget)
}

// An xtMatch is a match of xtables that nf_tables runs, with its structure
// decoded. There is one file per match, xt_*.go.
type xtMatch interface {
	// String says everything that decides but negation, in the words of the proof.
	String() string
	// holds runs it without negation. known is false when the packet is not
	// modelled so far.
	holds(x *execution) (match, known bool)
	// negated reports whether it matches what holds says does not.
	negated() bool
}

// An xtCounter is a match that remembers packets.
type xtCounter interface {
	instance() symbolic.Instance
}

// An xtDropper is a match that drops packets itself.
//
// Kernel: net/netfilter/nft_compat.c, nft_match_eval, which looks at
// xt_action_param.hotdrop.
type xtDropper interface {
	drops(x *execution) bool
}

// xtMatches are the decoders of structures, by name and revision.
var xtMatches = map[xtKey]func(info []byte) (xtMatch, error){}

type xtKey struct {
	name     string
	revision uint32
}

func (k xtKey) String() string { return fmt.Sprintf("%s of revision %d", k.name, k.revision) }

// registerXtMatch enters a decoder; each match's file does it.
func registerXtMatch(name string, revision uint32, decode func(info []byte) (xtMatch, error)) {
	xtMatches[xtKey{name, revision}] = decode
}

// XtMatch breaks the rule where a match of xtables does not hold.
//
// Kernel: net/netfilter/nft_compat.c, nft_match_eval.
type XtMatch struct {
	Key   xtKey
	match xtMatch
}

// decodeXt decodes the attributes that matches and targets have alike.
//
// Kernel: include/uapi/linux/netfilter/nf_tables_compat.h.
func decodeXt(kind string, data []byte) (key xtKey, info []byte, err error) {
	err = decodeNest(kind, data,
		need(unix.NFTA_MATCH_NAME, decodeString(&key.name)), need(unix.NFTA_MATCH_REV, decodeU32(&key.revision)),
		need(unix.NFTA_MATCH_INFO, decodeBytes(&info)))
	return key, info, err
}

func decodeXtMatch(_ *scope, data []byte) (Instruction, error) {
	key, info, err := decodeXt("match", data)
	if err != nil {
		return nil, err
	}
	decode := xtMatches[key]
	if decode == nil {
		return nil, notModelled{"match " + key.String()}
	}
	m, err := decode(info)
	if err != nil {
		return nil, err
	}
	return &XtMatch{key, m}, nil
}

func (i *XtMatch) String() string {
	not := ""
	if i.match.negated() {
		not = "not "
	}
	return fmt.Sprintf("[ match name %s rev %d %s%s ]", i.Key.name, i.Key.revision, not, i.match)
}

func (i *XtMatch) exec(x *execution) result {
	if m, ok := i.match.(xtDropper); ok && m.drops(x) {
		return x.decide(Verdict{Code: VerdictDrop})
	}
	match, known := i.match.holds(x)
	switch {
	case !known:
		if yes, supposed := x.flight.Answer(); supposed && yes {
			return proceed
		} else if supposed {
			return breaks
		}
		x.flight.Unanswered = true
		return x.unknown("match %v on such a packet", i.Key)
	case match == i.match.negated():
		return breaks
	}
	return proceed
}

func (*XtMatch) asks(*compiler) bool { return true }

func (i *XtMatch) tracks(version int) bool {
	t, ok := i.match.(tracker)
	return ok && t.tracks(version)
}

// A readable match of xtables is about bytes that have variables. ok is false when
// it is not, in the case at hand.
type readable interface {
	symbolic(x *symbolicRun) (holds bdd.Ref, ok bool)
}

func (i *XtMatch) symbolic(x *symbolicRun) {
	if m, ok := i.match.(readable); ok {
		if holds, ok := m.symbolic(x); ok {
			x.require(x.unless(i.match.negated(), holds))
			return
		}
	}
	in := symbolic.Instance{Kind: "content", Parameters: i.match.String(), Width: 1, Silent: true}
	if m, ok := i.match.(xtCounter); ok {
		in = m.instance()
	}
	if w, ok := x.ask(i, in); ok {
		x.require(x.unless(i.match.negated(), w[0]))
	}
}

// An xtTarget is a target of xtables that nf_tables runs; String says all that
// decides. Without more methods it does something outside of the packet's way. There
// is one file per target, xt_*.go.
type xtTarget = fmt.Stringer

// An xtActor is a target that does something to the packet.
type xtActor interface {
	exec(x *execution) result
	symbolic(x *symbolicRun)
}

// xtTargets are the decoders of structures, by name and revision.
var xtTargets = map[xtKey]func(info []byte) (xtTarget, error){}

// registerXtTarget enters a decoder; each target's file does it.
func registerXtTarget(name string, revision uint32, decode func(info []byte) (xtTarget, error)) {
	xtTargets[xtKey{name, revision}] = decode
}

// XtTarget does what a target of xtables does.
//
// Kernel: net/netfilter/nft_compat.c, nft_target_eval_xt.
type XtTarget struct {
	Key    xtKey
	target xtTarget
}

func decodeXtTarget(_ *scope, data []byte) (Instruction, error) {
	key, info, err := decodeXt("target", data)
	if err != nil {
		return nil, err
	}
	decode := xtTargets[key]
	if decode == nil {
		return nil, notModelled{"target " + key.String()}
	}
	target, err := decode(info)
	if err != nil {
		return nil, err
	}
	return &XtTarget{key, target}, nil
}

func (i *XtTarget) String() string {
	return fmt.Sprintf("[ target name %s rev %d %s ]", i.Key.name, i.Key.revision, i.target)
}

func (i *XtTarget) tracks(version int) bool {
	t, ok := i.target.(tracker)
	return ok && t.tracks(version)
}

func (i *XtTarget) exec(x *execution) result {
	if actor, ok := i.target.(xtActor); ok {
		return actor.exec(x)
	}
	x.flight.Emit(packet.ExternalEvent{What: i.target.String()})
	return proceed
}

func (i *XtTarget) symbolic(x *symbolicRun) {
	if actor, ok := i.target.(xtActor); ok {
		actor.symbolic(x)
		return
	}
	x.emit(symbolic.Token{Kind: "external", Text: i.target.String()})
}

// An xtReader reads the members of a structure as a compiler lays them out:
// each at a multiple of its size, in the byte order of the host.
type xtReader struct {
	data []byte
	at   int
	err  error
}

func (r *xtReader) take(n, align int) []byte {
	at := (r.at + align - 1) / align * align
	if r.err != nil || at+n > len(r.data) {
		r.err = fmt.Errorf("the structure of %d bytes is too short", len(r.data))
		return make([]byte, n)
	}
	r.at = at + n
	return r.data[at : at+n]
}

// align goes on to a multiple, as behind a structure within the structure.
func (r *xtReader) align(to int)       { r.at = (r.at + to - 1) / to * to }
func (r *xtReader) bytes(n int) []byte { return r.take(n, 1) }
func (r *xtReader) u8() uint8          { return r.take(1, 1)[0] }
func (r *xtReader) u16() uint16        { return binary.NativeEndian.Uint16(r.take(2, 2)) }
func (r *xtReader) u32() uint32        { return binary.NativeEndian.Uint32(r.take(4, 4)) }
func (r *xtReader) u64() uint64        { return binary.NativeEndian.Uint64(r.take(8, 8)) }

// end reports whether the structure ended there, filled up to words of 8 bytes.
func (r *xtReader) end() error {
	if r.err == nil && (r.at+7)/8*8 != len(r.data) {
		return fmt.Errorf("the structure has %d bytes where %d are expected", len(r.data), r.at)
	}
	return r.err
}
