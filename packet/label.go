package packet

import "hash/fnv"

// SecurityID is a number that stands for a security context, as the kernel's own
// numbers do, which depend on the policy that is loaded. It is not 0, which is no
// context. That two contexts are the same their [LabelEvent] says.
func SecurityID(context string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(context))
	return max(h.Sum32(), 1)
}
