package ipset

// A problem is what can be wrong with a text: the code of its diagnostic.
type problem struct{ Code string }

var (
	unknownCommand   = problem{Code: "ipset-unknown-command"}
	unknownType      = problem{Code: "ipset-unknown-type"}
	unknownSet       = problem{Code: "ipset-unknown-set"}
	unknownOption    = problem{Code: "ipset-unknown-option"}
	missingArgument  = problem{Code: "ipset-missing-argument"}
	invalidName      = problem{Code: "ipset-invalid-name"}
	invalidOption    = problem{Code: "ipset-invalid-option"}
	invalidElement   = problem{Code: "ipset-invalid-element"}
	duplicateSet     = problem{Code: "ipset-duplicate-set"}
	duplicateElement = problem{Code: "ipset-duplicate-element"}
	noSuchElement    = problem{Code: "ipset-no-such-element"}
	setInUse         = problem{Code: "ipset-in-use"}
	setFull          = problem{Code: "ipset-set-full"}
	tooManyElements  = problem{Code: "ipset-too-many-elements"}
	unterminated     = problem{Code: "unterminated-quote"}
	nulByte          = problem{Code: "nul-byte"}
)
