// Package bdd holds functions of Boolean variables as hash-consed decision
// diagrams with many terminals.
//
// A [Manager] holds the nodes of all its functions, each node once, so two
// functions of one Manager are equal exactly when their [Ref]s are: whoever
// asks whether two lists of rules do the same builds both and compares two
// numbers. A terminal is any uint32; a function whose terminals are 0 and 1
// is a Boolean function, a set. What the variables and the terminals stand for
// is the business of the caller: the package knows nothing of packets, rules or
// verdicts.
//
// Call [New] first, make functions with [Manager.Var], [Manager.Cube] and
// [Manager.Choose], and put work whose size is not known inside [Manager.Try].
//
// The variables keep the order the caller gave them. Nodes are never
// collected; only what a failed Try made is given back. A Manager and all that
// belongs to it must be used by one goroutine at a time.
package bdd
