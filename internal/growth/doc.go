// Package growth shows how time and memory grow with the number of rules: as a
// plot with two logarithmic axes ([Plot]), in which growth by a power is a
// straight line, and as a table of Markdown ([Table]).
//
// The package knows measurements and nothing of what was measured.
package growth
