// Package diag holds what the project says to a person about an input: source
// texts, ranges in them, and diagnostics.
//
// It knows no language. Start with [Source] and [Diagnostic]; [Write] prints
// diagnostics with the source line and a caret.
package diag
