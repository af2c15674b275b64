// Package testkit holds what tests share: the features a test needs from the
// machine, with a deserved skip when one is missing, and the place of the
// rulesets of the corpus.
//
// A test that needs anything beyond Go calls [Need] first.
package testkit
