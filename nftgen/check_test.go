package nftgen

import (
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCheck has rules that are refused, each for one reason.
func TestCheck(t *testing.T) {
	long := strings.Repeat("x", 129)
	foreign := &Set{Name: "static", Key: []*Datatype{ipv4Addr}}
	for name, r := range map[string]Rule{
		"comment too long":                   {Comment: long},
		"comment with a quote":               {Comment: `say "no"`},
		"comment with a line end":            {Comment: "a\nb"},
		"log prefix too long":                {Stmts: []Stmt{Log{Prefix: long[:128]}}},
		"log prefix with a quote":            {Stmts: []Stmt{Log{Prefix: `"`}}},
		"log level":                          {Stmts: []Stmt{Log{Level: 9}}},
		"log flag":                           {Stmts: []Stmt{Log{Flags: 0x10}}},
		"name too long":                      {Stmts: []Stmt{IfName{Field: MetaIifname, Name: "abcdefghijklmnop"}}},
		"name of nothing":                    {Stmts: []Stmt{IfName{Field: MetaIifname}}},
		"wildcard of everything":             {Stmts: []Stmt{IfName{Field: MetaIifname, Wildcard: true}}},
		"wildcard too long":                  {Stmts: []Stmt{IfName{Field: MetaIifname, Name: "abcdefghijklmno", Wildcard: true}}},
		"wildcard behind a backslash":        {Stmts: []Stmt{IfName{Field: MetaIifname, Name: `a\`, Wildcard: true}}},
		"backslash before a star":            {Stmts: []Stmt{IfName{Field: MetaIifname, Name: `a\*`}}},
		"name with a quote":                  {Stmts: []Stmt{IfName{Field: MetaIifname, Name: `a"b`}}},
		"name with an order":                 {Stmts: []Stmt{IfName{Field: MetaIifname, Name: "a", Op: Lt}}},
		"name of a number":                   {Stmts: []Stmt{IfName{Field: MetaMark, Name: "a"}}},
		"value too short":                    {Stmts: []Stmt{eq(IPSaddr, Value{1})}},
		"value missing":                      {Stmts: []Stmt{eq(IPSaddr, nil)}},
		"mask too long":                      {Stmts: []Stmt{under(MetaMark, u64(1), u32(1))}},
		"unknown operator":                   {Stmts: []Stmt{Compare{Field: IPTTL, Op: 6, Value: u8(1)}}},
		"no field":                           {Stmts: []Stmt{Compare{Value: u8(1)}}},
		"no statement":                       {Stmts: []Stmt{nil}},
		"span the wrong way":                 {Stmts: []Stmt{InSpan{Field: Dport(6), Low: u16(2), High: u16(1)}}},
		"span of flags":                      {Stmts: []Stmt{InSpan{Field: CTState, Low: u32(1), High: u32(2)}}},
		"span of names":                      {Stmts: []Stmt{InSpan{Field: MetaIifname, Low: Value("a"), High: Value("b")}}},
		"prefix of a port":                   {Stmts: []Stmt{InPrefix{Field: Dport(6), Addr: u16(2), Bits: 4}}},
		"prefix too long":                    {Stmts: []Stmt{prefix(IPSaddr, "10.0.0.0", 33)}},
		"no bits":                            {Stmts: []Stmt{AnyBit{Field: CTState, Bits: u32(0)}}},
		"empty set":                          {Stmts: []Stmt{set(Dport(6))}},
		"set not sorted":                     {Stmts: []Stmt{set(Dport(6), only(u16(2)), only(u16(1)))}},
		"set that overlaps":                  {Stmts: []Stmt{set(Dport(6), span(u16(1), u16(5)), only(u16(5)))}},
		"tuple too short":                    {Stmts: []Stmt{OneOfTuple{Fields: []Field{IPSaddr, Dport(6)}, Tuples: [][]Interval{{only(ip("10.0.0.1"))}}}}},
		"intervals of flags among fields":    {Stmts: []Stmt{OneOfTuple{Fields: []Field{CTState, Dport(6)}, Tuples: [][]Interval{{only(u32(2)), span(u16(1), u16(2))}}}}},
		"set of a counter":                   {Stmts: []Stmt{set(NumgenInc(9), only(u32(1)), only(u32(3)))}},
		"number that a counter never has":    {Stmts: []Stmt{eq(NumgenInc(9), u32(9))}},
		"mask of a time":                     {Stmts: []Stmt{under(CTExpiration, u32(1), u32(1))}},
		"range of families":                  {Stmts: []Stmt{Compare{Field: MetaNFProto, Op: Gt, Value: u8(2)}}},
		"another family":                     {Stmts: []Stmt{eq(MetaNFProto, u8(7))}},
		"both families":                      {Stmts: []Stmt{eq(IPSaddr, ip("10.0.0.1")), eq(IP6Saddr, ip("::1"))}},
		"fields of the other family":         {Family: IP, Stmts: []Stmt{eq(IP6Saddr, ip("::1"))}},
		"connection of the other family":     {Family: IP, Stmts: []Stmt{eq(CTSaddr(false, IP6), ip("::1"))}},
		"two protocols":                      {Stmts: []Stmt{tcp, eq(Dport(17), u16(1))}},
		"one of several protocols":           {Stmts: []Stmt{tcpOrUDP, eq(Dport(17), u16(1))}},
		"connection port of no protocol":     {Stmts: []Stmt{eq(CTDport(false), u16(1))}},
		"set that is nowhere":                {Stmts: []Stmt{InSet{Fields: []Field{IPSaddr}}}},
		"set of another type":                {Stmts: []Stmt{InSet{Fields: []Field{IP6Saddr}, Set: foreign}}},
		"too few masks":                      {Stmts: []Stmt{InSet{Fields: []Field{IPSaddr, Dport(6)}, Masks: []Value{nil}, Set: pairSet}}},
		"update of a fixed set":              {Stmts: []Stmt{Update{Fields: []Field{IPSaddr}, Set: foreign}}},
		"update with a verdict":              {Stmts: []Stmt{Update{Fields: []Field{IPSaddr}, Set: dynamicSet, Stmts: []Stmt{accept}}}},
		"timeout in a set without":           {Stmts: []Stmt{Update{Fields: []Field{IPSaddr, Dport(6)}, Set: pairSet, Timeout: time.Second}}},
		"timeout below a millisecond":        {Stmts: []Stmt{Update{Fields: []Field{IPSaddr}, Set: dynamicSet, Timeout: time.Microsecond}}},
		"existence of an address":            {Stmts: []Stmt{Exists{Field: IPSaddr}}},
		"place of a fragment":                {Stmts: []Stmt{eq(IP6FragOff, u16(8))}},
		"set of places of fragments":         {Stmts: []Stmt{set(IP6FragOff, only(u16(0)), only(u16(8)))}},
		"number of a header":                 {Stmts: []Stmt{eq(IP6Frag, u8(1))}},
		"existence of a field":               {Stmts: []Stmt{Exists{Field: IP6FragOff}}},
		"port of no protocol":                {Stmts: []Stmt{eq(MetaL4Proto, u8(253)), eq(Dport(0), u16(1))}},
		"mask of a protocol":                 {Stmts: []Stmt{under(MetaL4Proto, u8(6), u8(6))}},
		"port of a connection among fields":  {Stmts: []Stmt{tcp, OneOfTuple{Fields: []Field{IPSaddr, CTDport(false)}, Tuples: [][]Interval{{only(ip("10.0.0.1")), only(u16(1))}}}}},
		"too many expressions":               {Stmts: slices.Repeat([]Stmt{counter}, 129)},
		"unknown verdict":                    {Stmts: []Stmt{VerdictStmt{}}},
		"jump to nowhere":                    {Stmts: []Stmt{VerdictStmt{Kind: Jump}}},
		"jump to a word":                     {Stmts: []Stmt{VerdictStmt{Kind: Jump, Chain: "accept"}}},
		"accept to a chain":                  {Stmts: []Stmt{VerdictStmt{Kind: Accept, Chain: "x"}}},
		"statement behind a verdict":         {Stmts: []Stmt{accept, counter}},
		"statement behind a jump":            {Stmts: []Stmt{VerdictStmt{Kind: Jump, Chain: "x"}, counter}},
		"limit without a unit":               {Stmts: []Stmt{Limit{Rate: 1, Burst: 1}}},
		"limit without a rate":               {Stmts: []Stmt{Limit{Unit: time.Second, Burst: 1}}},
		"limit without a burst":              {Stmts: []Stmt{Limit{Rate: 1, Unit: time.Second}}},
		"reset of udp":                       {Stmts: []Stmt{eq(MetaL4Proto, u8(17)), Reject{Reset: true}}},
		"reset of several protocols":         {Stmts: []Stmt{tcpOrUDP, Reject{Reset: true}}},
		"unknown code":                       {Family: IP, Stmts: []Stmt{Reject{Code: 16}}},
		"assignment of an address":           {Stmts: []Stmt{Assign{Field: IPSaddr, Xor: ip("10.0.0.1")}}},
		"two registers":                      {Stmts: []Stmt{Assign{Field: MetaMark, Keep: u32(1), From: &ctMark}}},
		"shift of nothing":                   {Stmts: []Stmt{Assign{Field: MetaMark, Shift: 1}}},
		"shift too far":                      {Stmts: []Stmt{Assign{Field: MetaMark, From: &ctMark, Shift: 32}}},
		"mark from an address":               {Stmts: []Stmt{Assign{Field: MetaMark, From: &IPSaddr}}},
		"nat to nothing":                     {Stmts: []Stmt{NAT{}}},
		"nat ports of no protocol":           {Stmts: []Stmt{NAT{Low: ip("10.0.0.1"), LowPort: 5}}},
		"nat to a map and a port":            {Stmts: []Stmt{tcp, NAT{Destination: true, LowPort: 5, Map: ports(Dport(6), 1, 2)}}},
		"nat to an empty map":                {Stmts: []Stmt{tcp, NAT{Destination: true, Map: ports(Dport(6))}}},
		"nat to a map out of order":          {Stmts: []Stmt{tcp, NAT{Destination: true, Map: ports(Dport(6), 2, 2, 1, 1)}}},
		"nat to ports from 0 that are not":   {Stmts: []Stmt{tcp, NAT{Destination: true, FromZero: true, LowPort: 5}}},
		"nat to half a span":                 {Stmts: []Stmt{NAT{High: ip("10.0.0.1")}}},
		"nat to an empty span":               {Stmts: []Stmt{NAT{Low: ip("10.0.0.2"), High: ip("10.0.0.1")}}},
		"nat to both families":               {Stmts: []Stmt{NAT{Low: ip("10.0.0.2"), High: ip("::1")}}},
		"nat to the other family":            {Family: IP6, Stmts: []Stmt{NAT{Low: ip("10.0.0.2")}}},
		"nat to a prefix of ports":           {Stmts: []Stmt{tcp, NAT{Low: ip("10.0.0.0"), Prefix: 8, LowPort: 5}}},
		"ports the wrong way":                {Stmts: []Stmt{tcp, Redirect{LowPort: 5, HiPort: 4}}},
		"ports from 0":                       {Stmts: []Stmt{tcp, Masquerade{HiPort: 4}}},
		"redirect of no protocol":            {Stmts: []Stmt{Redirect{LowPort: 5}}},
		"masquerade of protocols of no port": {Stmts: []Stmt{eq(MetaL4Proto, u8(1)), Masquerade{LowPort: 5}}},
	} {
		if err := r.Check(); err == nil {
			t.Errorf("%s: Check passes", name)
		}
	}
	for i, k := range allCases() {
		if err := k.rule.Check(); err != nil {
			t.Errorf("case %d: Check: %v", i, err)
		}
	}
}

// TestCheckTable has tables that are refused.
func TestCheckTable(t *testing.T) {
	rule := func(s ...Stmt) []*Rule { return []*Rule{{Stmts: s}} }
	for name, table := range map[string]*Table{
		"no table":          nil,
		"no family":         {Name: "x"},
		"no name":           {Family: IP},
		"word as a name":    {Family: IP, Name: "ip"},
		"empty chain":       {Family: IP, Name: "x", Chains: []*Chain{nil}},
		"empty set":         {Family: IP, Name: "x", Sets: []*Set{nil}},
		"empty rule":        {Family: IP, Name: "x", Chains: []*Chain{{Name: "a", Rules: []*Rule{nil}}}},
		"chain twice":       {Family: IP, Name: "x", Chains: []*Chain{{Name: "a"}, {Name: "a"}}},
		"set twice":         {Family: IP, Name: "x", Sets: []*Set{{Name: "a", Key: []*Datatype{mark}}, {Name: "a", Key: []*Datatype{mark}}}},
		"chain of no hook":  {Family: IP, Name: "x", Chains: []*Chain{{Name: "a", Base: &Base{Type: "filter", Hook: 9}}}},
		"chain of no type":  {Family: IP, Name: "x", Chains: []*Chain{{Name: "a", Base: &Base{Type: "er"}}}},
		"jump to nowhere":   {Family: IP, Name: "x", Chains: []*Chain{{Name: "a", Rules: rule(VerdictStmt{Kind: Jump, Chain: "b"})}}},
		"foreign set":       {Family: IP, Name: "x", Chains: []*Chain{{Name: "a", Rules: rule(InSet{Fields: []Field{IPSaddr}, Set: hostSet})}}},
		"set without a key": {Family: IP, Name: "x", Sets: []*Set{{Name: "a"}}},
		"set of two ways":   {Family: IP, Name: "x", Sets: []*Set{{Name: "a", Key: []*Datatype{mark}, Dynamic: true, Interval: true}}},
		"interval in a set": {Family: IP, Name: "x", Sets: []*Set{{Name: "a", Key: []*Datatype{mark}, Elements: [][]Interval{{span(u32(1), u32(2))}}}}},
		"rule of a family":  {Family: IP, Name: "x", Chains: []*Chain{{Name: "a", Rules: []*Rule{{Family: IP6}}}}},
	} {
		rs := &Ruleset{Table: table}
		if _, err := Encode(rs); err == nil {
			t.Errorf("%s: Encode passes", name)
		}
		if err := Print(io.Discard, rs); err == nil {
			t.Errorf("%s: Print passes", name)
		}
	}
}

// TestOddInput gives statements of random and of broken parts to everything.
func TestOddInput(t *testing.T) {
	m := maker{rand.New(rand.NewPCG(1, 2))}
	value := func() Value {
		if m.pick(6) {
			return nil
		}
		return make(Value, m.IntN(18))
	}
	field := func() Field {
		if m.pick(10) {
			return Field{}
		}
		return catalogueFields[m.IntN(len(catalogueFields))]
	}
	for range 20000 {
		f := field()
		stmts := []Stmt{
			Compare{Field: f, Op: Op(m.IntN(8)), Mask: value(), Value: value()}, InPrefix{Field: f, Addr: value(), Bits: m.IntN(300) - 20},
			InSpan{Field: f, Low: value(), High: value()}, AnyBit{Field: f, Bits: value()}, OneOf{Field: f, Intervals: []Interval{{value(), value()}}},
			OneOfTuple{Fields: []Field{f, field()}, Tuples: [][]Interval{{{value(), value()}, {value(), value()}}}},
			InSet{Fields: []Field{f}, Masks: []Value{value()}, Set: &Set{Key: []*Datatype{nil}}}, Exists{Field: f},
			Assign{Field: f, Keep: value(), From: &f, Take: value(), Xor: value(), Shift: m.IntN(99) - 40},
			NAT{Low: value(), High: value(), Prefix: m.IntN(200) - 20, LowPort: uint16(m.IntN(3))},
			Update{Op: UpdateOp(m.IntN(4)), Set: &Set{Dynamic: true, Key: []*Datatype{ipv4Addr}}, Fields: []Field{f}, Masks: []Value{value()}, Stmts: []Stmt{nil}},
			IfName{Field: f, Name: string(value()), Op: Op(m.IntN(8)), Wildcard: m.pick(2)}, &Compare{}, nil,
		}
		r := &Rule{Stmts: []Stmt{stmts[m.IntN(len(stmts))], stmts[m.IntN(len(stmts))]}}
		_ = r.Check()
		rs := &Ruleset{Table: &Table{Family: Inet, Name: "x", Chains: []*Chain{{Name: "c", Rules: []*Rule{r}}}}}
		_, encodeError := Encode(rs)
		if printError := Print(io.Discard, rs); (encodeError == nil) != (printError == nil) {
			t.Fatalf("Encode says %v, Print says %v", encodeError, printError)
		}
	}
}
