package extension

import (
	"maps"
	"slices"
)

// Known lists the extensions of iptables by name, supplied or not.
func Known() []string { return slices.Sorted(maps.Keys(known)) }
