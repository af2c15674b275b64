package nftgen

import (
	"fmt"

	"github.com/google/nftables/expr"

	"nftmigrate/diag"
)

// maxExpressions is the greatest number of expressions of a rule.
//
// Kernel: net/netfilter/nf_tables_api.c, NFT_RULE_MAXEXPRS.
const maxExpressions = 128

// maxExpressionBytes is the greatest size of the expressions of a rule as the
// kernel holds them.
//
// Kernel: include/net/netfilter/nf_tables.h, struct nft_rule, dlen;
// net/netfilter/nf_tables_api.c, nf_tables_newrule, EFBIG.
const maxExpressionBytes = 1<<12 - 1

// fewExpressions are always few enough, even if all were of the greatest size.
const fewExpressions = maxExpressionBytes / setUpdateExpression

// A RuleSizeError says that a rule has more expressions than the kernel takes,
// or greater ones.
type RuleSizeError struct {
	// Origin is the source of the rule; it is zero when the rule has none.
	Origin diag.Range
	// Expressions is their number, and Bytes the room that the kernel needs for
	// them.
	Expressions, Bytes int
}

func (e *RuleSizeError) Error() string {
	from := ""
	if !e.Origin.IsZero() {
		from = " from " + e.Origin.FileLine()
	}
	return fmt.Sprintf("write a rule%s: its %d expressions take %d bytes, where the kernel takes up to %d and %d bytes",
		from, e.Expressions, e.Bytes, maxExpressions, maxExpressionBytes)
}

// checkSize returns a [*RuleSizeError] for a rule that the kernel does not take.
func (c *compiler) checkSize(origin diag.Range) error {
	count := c.count()
	if count <= fewExpressions {
		return nil
	}
	e := &RuleSizeError{Origin: origin, Expressions: count}
	for _, x := range c.expressions() {
		e.Bytes += kernelSize(x)
	}
	if e.Expressions > maxExpressions || e.Bytes > maxExpressionBytes {
		return e
	}
	return nil
}

// Sizes of expressions in bytes, on machines of 64 bits, with the pointer that
// each begins with.
const (
	smallExpression     = 16 // up to 8 bytes of its own
	mediumExpression    = 32 // up to 24
	fastCompare         = 24
	wideCompare         = 48
	rangeExpression     = 48
	fastBitwise         = 24
	bitwiseExpression   = 64
	lookupExpression    = 56
	limitExpression     = 56
	setUpdateExpression = 104
)

// kernelSize returns the size of an expression in the kernel. Where kernels
// differ, it is the largest since Linux 5.10.
//
// Kernel: include/net/netfilter/nf_tables.h, NFT_EXPR_SIZE, and the structures
// of net/netfilter/nft_*.c.
func kernelSize(e expression) int {
	library, ok := e.(fromLibrary)
	if !ok {
		if own := e.(ownExpression); own.name == "bitwise" {
			return bitwiseExpression
		}
		return smallExpression
	}
	switch e := library.Any.(type) {
	case *expr.Cmp:
		switch {
		case e.Op != expr.CmpOpEq && e.Op != expr.CmpOpNeq:
			return mediumExpression
		case len(e.Data) <= 4:
			return fastCompare
		}
		return wideCompare
	case *expr.Bitwise:
		if e.Len == 4 {
			return fastBitwise
		}
		return bitwiseExpression
	case *expr.Range:
		return rangeExpression
	case *expr.Lookup:
		return lookupExpression
	case *expr.Dynset:
		return setUpdateExpression
	case *expr.Limit:
		return limitExpression
	case *expr.Immediate, *expr.Verdict, *expr.Log, *expr.NAT, *expr.Numgen, *expr.Fib:
		return mediumExpression
	}
	return smallExpression
}
