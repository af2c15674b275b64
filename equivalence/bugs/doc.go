// Package bugs holds wrong translations, each of a kind that a translator has
// made or could make, as edits of right ones: of the bytes of the batch, or of
// the .nft text. Its tests show that a check finds every one of them and
// explains it by a packet, and that it finds nothing where only comments,
// counters or names differ.
//
// There is nothing to call. A translation that was ever found to be wrong
// becomes one more edit here.
package bugs
