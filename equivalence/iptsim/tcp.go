package iptsim

// TCP options that the machine knows.
const (
	optionNOP     = 1 // it and the end of options have no length byte
	optionMSS     = 2
	optionMSSSize = 4
)

// tcpOptions returns the options of a TCP header; ok is false when the header
// is truncated or claims to be shorter than it must be.
func tcpOptions(header []byte) (options []byte, ok bool) {
	if len(header) < 20 {
		return nil, false
	}
	size := int(header[12]>>4) * 4
	if size < 20 || size > len(header) {
		return nil, false
	}
	return header[20:size], true
}

// optionSize returns how far it is from the option at i to the next one. The
// end of options ends nothing, and an option of length 0 is stepped over by a
// byte.
func optionSize(options []byte, i int) int {
	if options[i] <= optionNOP || i+1 >= len(options) || options[i+1] == 0 {
		return 1
	}
	return int(options[i+1])
}

// hasOption reports whether an option of the kind is there.
//
// Kernel: net/netfilter/xt_tcpudp.c, tcp_find_option.
func hasOption(options []byte, kind uint32) bool {
	for i := 0; i < len(options); i += optionSize(options, i) {
		if uint32(options[i]) == kind {
			return true
		}
	}
	return false
}

// oddMSS reports whether the first option of the kind of MSS is none that is
// whole.
func oddMSS(options []byte) bool {
	for i := 0; i < len(options); i += optionSize(options, i) {
		if options[i] == optionMSS {
			return i+1 >= len(options) || options[i+1] != optionMSSSize || i+optionMSSSize > len(options)
		}
	}
	return false
}

// findMSS returns where the MSS option starts that is whole.
//
// Kernel: net/netfilter/xt_tcpmss.c and xt_TCPMSS.c.
func findMSS(options []byte) (at int, ok bool) {
	for i := 0; i <= len(options)-optionMSSSize; i += optionSize(options, i) {
		if options[i] == optionMSS && options[i+1] == optionMSSSize {
			return i, true
		}
	}
	return 0, false
}
