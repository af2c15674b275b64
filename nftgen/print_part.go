package nftgen

import (
	"runtime"
	"sync"
)

// aloneMost is how many rules one processor prints.
const aloneMost = 4096

// processors is how many share the work of printing so many rules.
func processors(rules int) int { return min(runtime.GOMAXPROCS(0), rules/aloneMost) }

// part returns a printer for a part of a table.
func (p *printer) part() *printer { return &printer{family: p.family} }

// alone reports whether what a printer of a part wrote, in which there was an error or not,
// depends on the other parts: variables are numbered in the whole, and of errors the first
// one is reported. Then the whole is printed again by one.
func (p *printer) alone(err error) bool { return err != nil || len(p.prefixes) > 0 }

// together runs work for each of n parts at once.
func together(n int, work func(i int)) {
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { work(i) })
	}
	wait.Wait()
}

// chains writes the chains of a table, on several processors where there are many rules.
func (p *printer) chains(list []*Chain) error {
	rules, longest := 0, 0
	for _, c := range list {
		rules, longest = rules+len(c.Rules), max(longest, len(c.Rules))
	}
	n := processors(rules)
	if n < 2 || 2*longest > rules { // of a long chain the rules are shared out
		return p.someChains(list)
	}
	parts := make([][]*Chain, n)
	i, sum := 0, 0
	for _, c := range list {
		if sum*n > rules*(i+1) {
			i++
		}
		parts[i] = append(parts[i], c)
		sum += len(c.Rules)
	}
	printers, alone := make([]*printer, n), make([]bool, n)
	together(n, func(i int) {
		q := p.part()
		q.text = make([]byte, 0, textSize([]*Table{{Chains: parts[i]}}))
		printers[i] = q
		alone[i] = q.alone(q.someChains(parts[i]))
	})
	for i := range n {
		if alone[i] {
			return p.someChains(list)
		}
	}
	for _, q := range printers {
		p.text = append(p.text, q.text...)
	}
	return nil
}

// prepare writes the rules of a chain to p.rules, and returns the column behind
// which their origins stand.
func (p *printer) prepare(rules []*Rule) (width int, err error) {
	n := processors(len(rules))
	if n < 2 {
		return p.prepareSome(rules)
	}
	printers, widths, alone := make([]*printer, n), make([]int, n), make([]bool, n)
	together(n, func(i int) {
		q := p.part()
		printers[i] = q
		var err error
		widths[i], err = q.prepareSome(rules[i*len(rules)/n : (i+1)*len(rules)/n])
		alone[i] = q.alone(err)
	})
	for i := range n {
		if alone[i] {
			return p.prepareSome(rules)
		}
	}
	p.rules, p.ends = p.rules[:0], p.ends[:0]
	for i, q := range printers {
		start := len(p.rules)
		p.rules = append(p.rules, q.rules...)
		for _, end := range q.ends {
			p.ends = append(p.ends, start+end)
		}
		width = max(width, widths[i])
	}
	return width, nil
}
