// Package scratch compiles .nft text with the real nft in a network namespace
// that exists for that one text, and returns what the kernel then holds as a
// batch.
//
// It works for an ordinary user where user namespaces are allowed: then the
// program runs itself again, so [Main] must be the first call of main and of
// TestMain. Call [Compile].
//
// The text is taken for hostile. It cannot act on the host's ruleset, because
// nft never runs outside of the namespace; it cannot read files, because
// include is refused before nft sees the text; nft runs in an empty directory,
// with an empty environment, and for at most a minute. Names that nft resolves
// when it loads a text (the devices of iif and oif, cgroups) are those of the
// empty namespace: a text that needs others does not compile.
package scratch
