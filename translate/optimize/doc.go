// Package optimize makes the rules of nftables faster without changing what
// they do: rules that differ in values become lookups in sets and maps, where
// measured costs say that this pays.
//
// It works on the target language alone, after the translation, so whatever
// checks a translation checks its work too. Start with Run.
package optimize
