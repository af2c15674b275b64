// Package apply commits batches of netlink messages to the kernel and makes
// sure that the kernel holds what was sent.
//
// It sends what it is given and knows no rule language. A commit is a list of
// stages, each one or more kernel transactions; it takes a raw snapshot before,
// guards every transaction with the ruleset's generation, reads back after
// every stage, and puts the snapshot back when something is not as it must be.
// Only tables that the batches name are ever touched.
//
// A transaction is atomic for whoever lists the ruleset, not for packets. [Plan]
// splits a batch into stages that are: every packet is judged by the rules
// before or by those after. Call [Switch] first, which plans and commits, and
// [Restore] to undo; [Commit] takes stages as they are.
package apply
