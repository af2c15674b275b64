package nftgen

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// An Object is a named object of a table, which rules use by its name. Objects
// of unlike kinds can have one name.
type Object struct {
	Name string
	Kind ObjectKind
	// Note is printed as a comment line in the object.
	Note string
}

// An ObjectKind is what an object is, with what it holds.
type ObjectKind interface {
	// number is the kernel's number of the kind.
	//
	// Kernel: include/uapi/linux/netfilter/nf_tables.h, NFT_OBJECT_*.
	number() uint32
	// word is what the text calls the kind where it declares an object.
	word() string
	// lines are what stands in the object in the text.
	lines() []string
	// data is what the kernel is told of the object.
	data() attributes
	// use is how a rule calls an object of a name.
	use(name string) string
	check() error
}

// Use is a statement that uses an object: "counter name "n"".
type Use struct{ Object *Object }

func (Use) stmt() {}

// NamedCounter is an object that counts packets and bytes.
//
// Kernel: net/netfilter/nft_counter.c.
type NamedCounter struct{ Packets, Bytes uint64 }

func (NamedCounter) number() uint32 { return 1 }
func (NamedCounter) word() string   { return "counter" }
func (NamedCounter) check() error   { return nil }

func (c NamedCounter) lines() []string {
	return []string{fmt.Sprintf("packets %d bytes %d", c.Packets, c.Bytes)}
}

func (c NamedCounter) data() attributes {
	var a attributes
	a.u64(unix.NFTA_COUNTER_BYTES, c.Bytes)
	a.u64(unix.NFTA_COUNTER_PACKETS, c.Packets)
	return a
}

func (NamedCounter) use(name string) string { return fmt.Sprintf("counter name %q", name) }

// check refuses an object that cannot be written.
func (o *Object) check() error {
	switch {
	case o.Kind == nil:
		return fmt.Errorf("write the object %q: it is of no kind", o.Name)
	case !ValidName(o.Name):
		return fmt.Errorf("write a %s: %q is no name", o.Kind.word(), o.Name)
	}
	if err := o.Kind.check(); err != nil {
		return fmt.Errorf("write the %s %s: %w", o.Kind.word(), o.Name, err)
	}
	return nil
}

// checkObjects refuses objects that cannot be written, and two of one kind and
// name.
func checkObjects(t *Table) (map[*Object]bool, error) {
	if slices.Contains(t.Objects, nil) {
		return nil, fmt.Errorf("the table holds nothing in place of an object")
	}
	type key struct {
		kind uint32
		name string
	}
	names, held := map[key]bool{}, map[*Object]bool{}
	for _, o := range t.Objects {
		if err := o.check(); err != nil {
			return nil, err
		}
		k := key{o.Kind.number(), o.Name}
		if names[k] {
			return nil, fmt.Errorf("the %s %s is there twice", o.Kind.word(), o.Name)
		}
		names[k], held[o] = true, true
	}
	return held, nil
}

// object appends the message that makes an object.
func (e *encoder) object(o *Object) {
	var a attributes
	a.text(unix.NFTA_OBJ_TABLE, e.table.Name)
	a.text(unix.NFTA_OBJ_NAME, o.Name)
	a.u32(unix.NFTA_OBJ_TYPE, o.Kind.number())
	a.nested(unix.NFTA_OBJ_DATA, o.Kind.data())
	e.message(unix.NFT_MSG_NEWOBJ, unix.NLM_F_CREATE, a)
}

// expression returns the reference to the object.
//
// Kernel: net/netfilter/nft_objref.c.
func (s Use) expression() expression {
	var a attributes
	a.u32(unix.NFTA_OBJREF_IMM_TYPE, s.Object.Kind.number())
	a.text(unix.NFTA_OBJREF_IMM_NAME, s.Object.Name)
	return ownExpression{"objref", a}
}

func (p *printer) object(o *Object) {
	fmt.Fprintf(p, "\t%s %s {\n", o.Kind.word(), o.Name)
	if o.Note != "" {
		p.comment("\t\t", o.Note)
	}
	for _, line := range o.Kind.lines() {
		p.add("\t\t" + line + "\n")
	}
	p.add("\t}\n")
}
