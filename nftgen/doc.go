// Package nftgen is the target language: a model of nftables rulesets, a
// catalogue of the fields that rules can load, a printer that writes the text
// a person reviews, and an encoder that writes the netlink batch that is
// checked and committed.
//
// Text and batch are the same ruleset: loading the text with nft -f and
// committing the batch leave the kernel with identical bytecode. Build a
// [Ruleset], then call [Print] and [Encode]; [Rule.Check] tells beforehand
// whether a rule can be written.
//
// The language is that of nft 1.0.6, and the bytecode is what it makes of the
// text. Where nft reads a text otherwise than it says, or crashes when it lists
// the result, the statement is refused or written in another form.
package nftgen
