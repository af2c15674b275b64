// Package ipset is the language of ipset: what "ipset save" prints and "ipset
// restore" reads, as a model of sets with places in the source.
//
// [Parse] reads a text, a [Reader] single commands; [Print] writes sets back as
// "ipset save" does. Elements are kept packed, so that a set of millions of them
// takes about as much memory as its text. What a set means for packets is said
// elsewhere, once for each half of the project.
package ipset
