package bdd

// node is one test of a variable, or a terminal. A terminal has the level
// terminalLevel and its value in low. The nodes below a node have greater
// levels and smaller Refs.
type node struct {
	level     Level
	low, high Ref
}

const chunkBits = 14

type chunk [1 << chunkBits]node

// store is the nodes by Ref. It grows by chunks: a slice would be copied again
// and again, and twice as large while it is.
type store struct {
	chunks []*chunk
	length int
}

// at returns a node that is there.
func (s *store) at(f Ref) *node { return &s.chunks[f>>chunkBits][f%Ref(len(chunk{}))] }

// add appends a node.
func (s *store) add(n node) Ref {
	f := Ref(s.length)
	if s.length>>chunkBits == len(s.chunks) {
		s.chunks = append(s.chunks, new(chunk))
	}
	*s.at(f) = n
	s.length++
	return f
}

// cut keeps the first length nodes.
func (s *store) cut(length int) {
	s.length = length
	kept := (length + len(chunk{}) - 1) >> chunkBits
	clear(s.chunks[kept:])
	s.chunks = s.chunks[:kept]
}
