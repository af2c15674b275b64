package iptables

// An argumentKind says whether an option of the command line takes an argument.
type argumentKind uint8

const (
	noArgument argumentKind = iota
	oneArgument
	optionalArgument
)

// A baseOption is an option that needs no extension. Options of the same letter
// are one option.
type baseOption struct {
	name     string
	letter   byte
	argument argumentKind
	role     role
}

// A role says what part an option has in a line.
type role uint8

const (
	commandRole role = iota // says what the line does: -A, -I, -N, …
	ruleRole                // is part of a rule
	ignoredRole             // has no influence on the ruleset
	refusedRole             // iptables-restore does not take it
)

// baseOptions are the options of iptables(8) without extensions.
var baseOptions = []baseOption{
	{"append", 'A', oneArgument, commandRole},
	{"delete", 'D', oneArgument, commandRole},
	{"check", 'C', oneArgument, refusedRole},
	{"insert", 'I', oneArgument, commandRole},
	{"replace", 'R', oneArgument, commandRole},
	{"list", 'L', optionalArgument, refusedRole},
	{"list-rules", 'S', optionalArgument, refusedRole},
	{"flush", 'F', optionalArgument, commandRole},
	{"zero", 'Z', optionalArgument, commandRole},
	{"new-chain", 'N', oneArgument, commandRole},
	{"delete-chain", 'X', optionalArgument, commandRole},
	{"rename-chain", 'E', oneArgument, commandRole},
	{"policy", 'P', oneArgument, commandRole},
	{"source", 's', oneArgument, ruleRole},
	{"destination", 'd', oneArgument, ruleRole},
	{"src", 's', oneArgument, ruleRole},
	{"dst", 'd', oneArgument, ruleRole},
	{"protocol", 'p', oneArgument, ruleRole},
	{"in-interface", 'i', oneArgument, ruleRole},
	{"jump", 'j', oneArgument, ruleRole},
	{"table", 't', oneArgument, refusedRole},
	{"match", 'm', oneArgument, ruleRole},
	{"numeric", 'n', noArgument, refusedRole},
	{"out-interface", 'o', oneArgument, ruleRole},
	{"verbose", 'v', noArgument, ignoredRole},
	{"wait", 'w', optionalArgument, refusedRole},
	{"wait-interval", 'W', optionalArgument, refusedRole},
	{"exact", 'x', noArgument, refusedRole},
	{"fragments", 'f', noArgument, ruleRole},
	{"version", 'V', noArgument, refusedRole},
	{"help", 'h', optionalArgument, refusedRole},
	{"line-numbers", '0', noArgument, refusedRole},
	{"modprobe", 'M', oneArgument, ignoredRole},
	{"set-counters", 'c', oneArgument, ruleRole},
	{"goto", 'g', oneArgument, ruleRole},
	{"ipv4", '4', noArgument, ignoredRole},
	{"ipv6", '6', noArgument, ignoredRole},
}

// refusedBecause says, for each option that iptables-restore does not take, why
// it has no place in a ruleset and what to do.
var refusedBecause = map[byte]string{
	'C': "It asks whether a rule exists, and changes nothing. Remove the line.",
	'L': "It lists rules, and changes nothing. Remove the line.",
	'S': "It lists rules, and changes nothing. Remove the line.",
	't': "The table is that of the line \"*table\" above. Remove the option, and move the line into the part of its table.",
	'n': "It belongs to listing. Remove it.",
	'x': "It belongs to listing. Remove it.",
	'0': "It belongs to listing. Remove it.",
	'w': "iptables-restore takes the lock by itself. Remove it.",
	'W': "iptables-restore takes the lock by itself. Remove it.",
	'V': "It prints a version, and changes nothing. Remove it.",
	'h': "It prints help, and changes nothing. Remove it.",
}

// shortOptions finds base options by letter.
var shortOptions = func() (table [128]*baseOption) {
	for i := range baseOptions {
		if o := &baseOptions[i]; table[o.letter] == nil && o.letter != '0' {
			table[o.letter] = o
		}
	}
	return table
}()

// shortOption returns the base option of a letter, or nil.
func shortOption(letter byte) *baseOption {
	if int(letter) < len(shortOptions) {
		return shortOptions[letter]
	}
	return nil
}

// longOptions finds base options by full name.
var longOptions = func() map[string]*baseOption {
	table := make(map[string]*baseOption, len(baseOptions))
	for i := range baseOptions {
		table[baseOptions[i].name] = &baseOptions[i]
	}
	return table
}()

// longOption returns the base option of a full name, or nil.
func longOption(name string) *baseOption { return longOptions[name] }
