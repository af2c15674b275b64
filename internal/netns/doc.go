// Package netns is the one way of this project into private network
// namespaces.
//
// Everything that could load rules or send packets goes through [NS.Do], which
// runs a function on a thread of its own inside the namespace, and which
// compares the inode of the namespace before and after. A handle that was
// closed gives an error; it never means the namespace of the host. Call [New]
// first.
package netns
