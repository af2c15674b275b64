// Package nftgen is the target language: a model of nftables rulesets, a
// catalogue of the fields that rules can load, a printer that writes the text
// a person reviews, and an encoder that writes the netlink batch that is
// checked and committed.
//
// Text and batch are the same ruleset: loading the text with nft -f and
// committing the batch leave the kernel with identical bytecode. Build a
// [Ruleset], then call [Print] and [Encode].
package nftgen
