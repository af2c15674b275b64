// Package archtest holds the tests of what the project says about itself: the
// directions of imports, each with its reason, and the form of its source
// files. It has no code but its tests.
package archtest
