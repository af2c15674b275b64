// Package translate turns an iptables model into an nftables model.
//
// It lays out the table, its chains and sets, asks each match and target for
// its statements by the [Translator] interface, and lowers what needs several
// rules. It knows no extension by name. Start with [Translate].
package translate
