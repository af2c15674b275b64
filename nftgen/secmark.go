package nftgen

import "fmt"

// SecurityContext is an object that gives packets a security context, which the
// kernel asks its security module about when the object is made.
//
// Kernel: net/netfilter/nft_meta.c, nft_secmark_obj_init.
type SecurityContext struct{ Context string }

// contextMax is the longest context that nft reads.
//
// Source: nftables, include/rule.h, struct secmark.
const contextMax = 255

func (SecurityContext) number() uint32 { return 8 }
func (SecurityContext) word() string   { return "secmark" }

func (c SecurityContext) check() error {
	if c.Context == "" || len(c.Context) > contextMax {
		return fmt.Errorf("a security context has 1 to %d bytes, not %d", contextMax, len(c.Context))
	}
	return checkQuoted("security context", c.Context)
}

// Readable reports whether nft can read the context.
func (c SecurityContext) Readable() bool { return c.check() == nil }

func (c SecurityContext) lines() []string { return []string{fmt.Sprintf(`"%s"`, c.Context)} }

func (c SecurityContext) data() attributes {
	const context = 1 // NFTA_SECMARK_CTX
	var a attributes
	a.text(context, c.Context)
	return a
}

func (SecurityContext) use(name string) string { return fmt.Sprintf("meta secmark set %q", name) }
