// Package apply commits batches of netlink messages to the kernel and makes
// sure that the kernel holds what was sent.
//
// It sends what it is given and knows no rule language. A commit is a list of
// stages, each one batch and one kernel transaction; it takes a raw snapshot
// before, guards every stage with the ruleset's generation, reads back after
// every stage, and puts the snapshot back when something is not as it must be.
// Only tables that the batches name are ever touched. Call [Commit] first,
// [Restore] to undo.
package apply
