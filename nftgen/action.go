package nftgen

// An action is a statement that does something and is described in a file of its
// own.
type action interface {
	Stmt
	// check refuses what nft 1.0.6 has no text for.
	check() error
	// text is the statement in a table of a family.
	text(table Family) string
	// compile adds the expressions.
	compile(c *compiler) error
	// terminal says that nothing of the chain runs behind it.
	terminal() bool
}
