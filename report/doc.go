// Package report shows results to people and programs: what a check found, the
// way of a packet, and how two texts differ. It decides nothing.
package report
