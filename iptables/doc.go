// Package iptables is the source language: what iptables-save and
// ip6tables-save print and iptables-restore reads.
//
// [Parse] reads a text into a [Ruleset] whose every token has a position, and
// collects a diagnostic for everything it cannot read. [Print] writes a ruleset
// back in the canonical form of iptables-save. The package knows the base
// options of a rule and no extension by name: matches and targets come from a
// [Registry] and declare their options as data ([Options]), which is their
// parser and their printer at once.
package iptables
