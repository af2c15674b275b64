// Package persist makes a migration outlast a reboot: it says what has to change
// on disk, changes it so that a power cut at any point can be finished or undone,
// and brings everything back for as long as its journal exists.
//
// [Lay] turns what a host has (its init system, what loads rules on it) into a list
// of [Change]. [Check] tells, without changing anything, what would keep them from
// being made. [Prepare] writes a [Journal] with all that was there before;
// [Journal.Run] makes the changes and, after a crash, goes on with them;
// [Journal.Undo] takes them back. [Run] and [Undo] do that from the directory of a
// journal alone.
//
// Every path is below a root directory, which is / on the host itself. The package
// runs no program and knows no rules: the ruleset is text, or a batch, that it was
// given. What a running init system has to be told afterwards is for the caller.
package persist
