// Package script reads shell scripts that make a firewall: files of iptables,
// ip6tables and iptables-restore commands, as they stand in rc.local or as a
// person types them.
//
// [Run] follows a script from top to bottom and returns the rules that a kernel
// has afterwards; the commands themselves are carried out by an
// [iptables.Session]. Of the shell it follows what has only one way to go:
// variables, quotes, lists of commands, here-documents. Loops, conditions,
// functions and the output of other commands are not followed, but reported,
// and so is each command whose effect is not known. docs/scripts.md is the list.
package script
