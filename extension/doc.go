// Package extension holds the matches and targets of iptables, one file each.
//
// An extension states three things: its options (parser and printer at once),
// its meaning or action as data for the checking half, and its translation for
// the translating half. The last two never share a function, so that a mistake
// in one is not repeated in the other. See CONTRIBUTING.md for how to add one.
package extension
