package predicate

// A Content is an instance without memory, which decides by the packet alone in
// a way that tests of fields cannot say: a search in its bytes, a program. A
// proof compares the two sides' instances, not what they decide.
type Content interface {
	Instance
	// Content marks the type.
	Content()
}
