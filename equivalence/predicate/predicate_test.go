package predicate

import (
	"math/big"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// fake is a packet of chosen fields.
type fake struct {
	fields map[Field]Bits
	absent map[Field]Truth // No when missing
	states States
	now    int64
}

func (f *fake) Field(field Field) (Bits, Truth) {
	if v, ok := f.fields[field]; ok {
		return v, Yes
	}
	if t, ok := f.absent[field]; ok {
		return Bits{}, t
	}
	return Bits{}, No
}
func (f *fake) States() *States { return &f.states }
func (f *fake) Now() int64      { return f.now }

var (
	ttl  = Field{ID: TTL}
	mark = Field{ID: Mark}
	gone = Field{ID: CTMark}
	dark = Field{ID: TCPMSS}
)

func TestEval(t *testing.T) {
	r := &fake{fields: map[Field]Bits{ttl: Number(64), mark: Number(0xf0)}, absent: map[Field]Truth{dark: Unknown}}
	yes, no, unknown := Predicate(Const(true)), Predicate(Const(false)), Predicate(Unmodelled{"x"})
	tests := []struct {
		p    Predicate
		want Truth
	}{
		{All{}, Yes}, {Any{}, No},
		{All{yes, unknown}, Unknown}, {All{unknown, no}, No}, {All{no, unknown}, No},
		{Any{no, unknown}, Unknown}, {Any{unknown, yes}, Yes}, {Any{no, no}, No},
		{Not{yes}, No}, {Not{no}, Yes}, {Not{unknown}, Unknown},
		{Equal(ttl, Number(64)), Yes}, {Equal(ttl, Number(63)), No},
		{Between{ttl, Number(64), Number(70)}, Yes}, {Between{ttl, Number(60), Number(64)}, Yes},
		{Between{ttl, Number(65), Number(70)}, No}, {Between{ttl, Number(70), Number(60)}, No},
		{Masked{mark, Number(0x30), Number(0x30)}, Yes}, {Masked{mark, Number(0x0f), Number(1)}, No},
		{In{ttl, []Span{{Number(1), Number(2)}, {Number(64), Number(64)}}}, Yes}, {In{ttl, nil}, No},
		// An absent field makes a test false and its negation true.
		{Equal(gone, Bits{}), No}, {Not{Equal(gone, Bits{})}, Yes}, {Present{gone}, No}, {Present{ttl}, Yes},
		{Equal(dark, Bits{}), Unknown}, {Not{Masked{dark, Bits{}, Bits{}}}, Unknown}, {Present{dark}, Unknown},
	}
	for _, tt := range tests {
		if got := Eval(tt.p, r, ""); got != tt.want {
			t.Errorf("Eval(%v) = %v, want %v", tt.p, got, tt.want)
		}
	}
}

// TestEvalOrder shows that a part which does not hold keeps later stateful ones
// from being asked.
func TestEvalOrder(t *testing.T) {
	r := &fake{}
	every := Stateful{Nth{Every: 2}}
	for range 3 {
		Eval(All{Const(false), every}, r, "a")
		Eval(Any{Const(true), every}, r, "a")
	}
	if got := Eval(every, r, "a"); got != Yes {
		t.Errorf("the first packet asked: %v", got)
	}
}

func TestEvalAllocatesNothing(t *testing.T) {
	r := &fake{fields: map[Field]Bits{ttl: Number(64)}}
	var p Predicate = All{Between{ttl, Number(1), Number(64)}, Not{Masked{ttl, Number(1), Number(1)}}, Stateful{Limit{Average: 100, Burst: 5}}}
	Eval(p, r, "x")
	if n := testing.AllocsPerRun(100, func() { Eval(p, r, "x") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func toBig(b Bits) *big.Int {
	raw := b.Bytes()
	return new(big.Int).SetBytes(raw[:])
}

// TestBits compares with arithmetic on big integers.
func TestBits(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	full := new(big.Int).Lsh(big.NewInt(1), 128)
	all := new(big.Int).Sub(full, big.NewInt(1))
	draw := func() Bits {
		b := Bits{random.Uint64(), random.Uint64()}
		return b.And(Ones(random.IntN(130))).Xor(Ones(random.IntN(3)))
	}
	for range 20000 {
		a, b, n := draw(), draw(), random.IntN(300)-150
		x, y := toBig(a), toBig(b)
		shifted := new(big.Int)
		if n >= 0 {
			shifted.And(shifted.Lsh(x, uint(n)), all)
		} else {
			shifted.Rsh(x, uint(-n))
		}
		for _, c := range []struct {
			name string
			got  Bits
			want *big.Int
		}{
			{"and", a.And(b), new(big.Int).And(x, y)},
			{"or", a.Or(b), new(big.Int).Or(x, y)},
			{"xor", a.Xor(b), new(big.Int).Xor(x, y)},
			{"not", a.Not(), new(big.Int).Xor(x, all)},
			{"inc", a.Inc(), new(big.Int).Mod(new(big.Int).Add(x, big.NewInt(1)), full)},
			{"dec", a.Dec(), new(big.Int).Mod(new(big.Int).Sub(x, big.NewInt(1)), full)},
			{"shift", a.Shift(n), shifted},
		} {
			if toBig(c.got).Cmp(c.want) != 0 {
				t.Fatalf("%s of %v, %v by %d = %v, want %x", c.name, a, b, n, c.got, c.want)
			}
		}
		if a.Less(b) != (x.Cmp(y) < 0) || a.IsZero() != (x.Sign() == 0) {
			t.Fatalf("order of %v, %v", a, b)
		}
	}
	for n := range 140 {
		want := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(min(n, 128))), big.NewInt(1))
		if toBig(Ones(n)).Cmp(want) != 0 {
			t.Errorf("Ones(%d) = %v", n, Ones(n))
		}
	}
}

func TestBitsFrom(t *testing.T) {
	tests := []struct {
		got, want Bits
	}{
		{Addr(netip.MustParseAddr("10.1.2.3")), Bits{0, 0x0a010203}},
		{Addr(netip.MustParseAddr("2001:db8::1")), Bits{0x20010db800000000, 1}},
		{Name("eth0"), Bits{0x6574683000000000, 0}},
		{MAC([6]byte{2, 0, 0, 0, 0, 9}), Bits{0, 0x020000000009}},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %v, want %v", tt.got, tt.want)
		}
	}
}

func TestWalk(t *testing.T) {
	var fields []Field
	p := Any{All{Equal(ttl, Bits{}), Not{Masked{mark, Bits{}, Bits{}}}}, Present{gone}, Stateful{Recent{List: "l", Op: RecentSet}}}
	Walk(p, func(p Predicate) { fields = append(fields, FieldsOf(p)...) })
	want := []Field{ttl, mark, gone, {ID: SrcAddr}}
	if len(fields) != len(want) {
		t.Fatalf("fields %v, want %v", fields, want)
	}
	for i := range want {
		if fields[i] != want[i] {
			t.Errorf("fields %v, want %v", fields, want)
		}
	}
	Walk(nil, func(Predicate) { t.Error("nil has parts") })
}

// TestSimplify compares random predicates with their simpler forms, stateful
// parts included.
func TestSimplify(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	var grow func(depth int) Predicate
	grow = func(depth int) Predicate {
		n := random.IntN(9)
		if depth == 0 {
			n = random.IntN(6)
		}
		parts := func() []Predicate {
			list := make([]Predicate, random.IntN(4))
			for i := range list {
				list[i] = grow(depth - 1)
			}
			return list
		}
		switch n {
		case 0, 1:
			return Const(n == 0)
		case 2:
			return Equal(ttl, Number(uint64(63+random.IntN(2))))
		case 3:
			return Equal(dark, Bits{})
		case 4:
			return Stateful{Recent{List: "l", Op: RecentOp(1 + random.IntN(4)), Mask: Ones(128)}}
		case 5:
			return Present{gone}
		case 6:
			return All(parts())
		case 7:
			return Any(parts())
		}
		return Not{grow(depth - 1)}
	}
	fields := map[Field]Bits{ttl: Number(64), {ID: SrcAddr}: Number(1)}
	for range 20000 {
		p := grow(4)
		short := Simplify(p)
		a, b := &fake{fields: fields, absent: map[Field]Truth{dark: Unknown}}, &fake{fields: fields, absent: map[Field]Truth{dark: Unknown}}
		for i := range 4 {
			x, y := Eval(p, a, ""), Eval(short, b, "")
			if x != y && !(x == Unknown && short == Const(false) || x == Unknown && short == Const(true)) {
				t.Fatalf("packet %d: %v is %v, %v is %v", i, p, x, short, y)
			}
		}
	}
	p := Simplify(All{Const(true), All{Present{gone}, Const(true)}, Any{Const(false), Not{Not{Present{ttl}}}}})
	if got, want := p.String(), (All{Present{gone}, Present{ttl}}).String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
