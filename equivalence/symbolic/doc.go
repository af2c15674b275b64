// Package symbolic is the vocabulary in which two languages of rules say what
// they do with every packet at once: the bits of a packet and its circumstances
// as Boolean variables, what rules write and emit, and how chains compose.
//
// A [Space] holds the diagrams of one IP version. A machine compiles each of
// its stages to a function from the variables, as they are when the packet
// enters the stage, to a [Leaf]: the verdict, the events in order, and what was
// written. Writes are substituted into later reads when functions are put in
// sequence ([Space.Sequence]), so that a function always speaks of the packet
// as it came.
//
// Variables are named by their place on the wire or in the kernel's own
// structures ([Group]), never by a language's word for them. [Bind] says what
// each is on a packet in flight. The package knows neither language.
package symbolic
