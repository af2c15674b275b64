// Package transaction is one migration of a host, from the snapshot before it to
// the confirmation that makes it last, or to the rollback that undoes it.
//
// A migration has a directory, and in it a record that says how far it came. The
// record is written, synced and read back before each step that it announces, so
// that whoever finds it after a crash, a kill or a power cut knows what there is
// to finish or to undo. Before anything changes a guard is started, outside of
// the process that applies: it holds the snapshot in memory, waits on a clock that
// neither the time of day nor a suspended machine moves, and rolls back when no
// confirmation came in time. Nothing on disk that decides what a boot loads
// changes before the confirmation, so a reboot is a rollback, too.
//
// The package knows no rule language: what to commit, what to restore and what to
// change on disk is given to it. Open a [Store] first.
package transaction
