package nftgen

import (
	"fmt"

	"github.com/google/nftables/expr"
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

// checkSize refuses rules with more expressions than the kernel takes.
func (c *compiler) checkSize() error {
	if n := c.count(); n > maxExpressions {
		return fmt.Errorf("write a rule: its %d expressions are more than the %d that the kernel takes", n, maxExpressions)
	}
	size := 0
	for _, e := range c.expressions() {
		size += kernelSize(e)
	}
	if size > maxExpressionBytes {
		return fmt.Errorf("write a rule: its expressions take %d bytes, more than the %d that the kernel has for them", size, maxExpressionBytes)
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
