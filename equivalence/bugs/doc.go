// Package bugs holds wrong translations, each of a kind that a translator has
// made or could make, as edits of right ones: of the bytes of the batch, or of
// the .nft text. Its tests show that a check finds every one of them and
// explains it by a packet, and that it finds nothing where only comments,
// counters or names differ.
//
// Besides the edits that are written down, mutants are made by the kinds of
// change in the files mutant_*_test.go: of rulesets here and in examples/, at
// places that -mutant-seed decides, -mutants of each kind. A proof must refute
// each or show that it does the same (TestProofRefutes), and the kernel must
// confirm the packets (TestKernelConfirms).
//
// There is nothing to call. A translation that was ever found to be wrong
// becomes one more edit here.
package bugs
