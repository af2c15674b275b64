package iptables

import (
	"runtime"
	"strings"
	"sync"

	"nftmigrate/diag"
)

// partSize is how long a part of a text is at least that is read beside others.
const partSize = 128 << 10

// A part is what one of several readers makes of a stretch of rules. It only collects, and
// is given up at the first line that does more than to append rules, or about which there
// is something to say: then all is read again, one line after the other.
type part struct {
	rules  []partRule
	ranges map[*Chain]diag.Range // of the first rules of chains that have no range yet
	failed bool
}

// A partRule is a rule and the chain that it belongs to.
type partRule struct {
	chain *Chain
	rule  *Rule
}

// readParts reads the rules up to the end of the table in several parts at once, and
// returns how long they are; it is 0 when they have to be read line by line. rest is the
// text that was not read yet, and starts at base.
func (p *parser) readParts(rest string, base int) int {
	if p.table == nil || p.session || p.noflush || base < p.tried || len(rest) < 2*partSize || !strings.HasPrefix(rest, "-A ") {
		return 0
	}
	if i := strings.Index(rest, "\nCOMMIT"); i >= 0 {
		rest = rest[:i+1]
	}
	p.tried = base + len(rest)
	n := min(runtime.GOMAXPROCS(0), len(rest)/partSize)
	if n < 2 {
		return 0
	}
	readers := make([]*parser, n)
	var wait sync.WaitGroup
	start := 0
	for i := range readers {
		end := len(rest)
		if i+1 < n {
			end = (i + 1) * len(rest) / n
			if at := strings.IndexByte(rest[end:], '\n'); at >= 0 {
				end += at + 1
			} else {
				end = len(rest)
			}
		}
		r := &parser{src: p.src, text: p.text, family: p.family, reg: p.reg, ruleset: p.ruleset, table: p.table, part: &part{}}
		readers[i] = r
		text, at := rest[start:end], base+start
		start = end
		wait.Go(func() { r.readPart(text, at) })
	}
	wait.Wait()
	expanded := p.expanded
	for _, r := range readers {
		expanded += r.expanded
		if r.part.failed || expanded > expandMax {
			return 0
		}
	}
	p.expanded = expanded
	p.join(readers)
	return len(rest)
}

// readPart reads lines of a table.
func (p *parser) readPart(text string, base int) {
	p.part.rules = make([]partRule, 0, len(text)/64)
	for text != "" && !p.part.failed {
		line, next := text, len(text)
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			line, next = text[:i], i+1
		}
		p.readLine(strings.TrimSuffix(line, "\r"), base)
		text, base = text[next:], base+next
	}
}

// join puts what the readers collected where it belongs.
func (p *parser) join(readers []*parser) {
	for _, r := range readers {
		for chain, where := range r.part.ranges {
			if chain.Range.IsZero() {
				chain.Range = where
			}
		}
	}
	for _, r := range readers {
		for _, c := range r.part.rules {
			c.chain.Rules = append(c.chain.Rules, c.rule)
		}
	}
	p.line = readers[len(readers)-1].line
}

// add collects a rule of the line that is being read.
func (p *part) add(chain *Chain, where diag.Range, rule *Rule) {
	if chain.Range.IsZero() && p.ranges[chain].IsZero() {
		if p.ranges == nil {
			p.ranges = make(map[*Chain]diag.Range)
		}
		p.ranges[chain] = where
	}
	p.rules = append(p.rules, partRule{chain, rule})
}
