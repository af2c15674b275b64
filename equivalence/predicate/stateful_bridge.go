package predicate

// BridgePorts is "-m physdev". Words say all that it asks of a bridged packet;
// Unbridged is its answer for all others, which are those that machines model.
//
// Kernel: net/netfilter/xt_physdev.c, physdev_mt.
type BridgePorts struct {
	Words     string
	Unbridged bool
}

var _ Content = BridgePorts{}

// Content marks the type.
func (BridgePorts) Content() {}

// Identity is "": there is no state.
func (BridgePorts) Identity() string { return "" }

// Describe says what is asked.
func (b BridgePorts) Describe() string { return "bridge: " + b.Words }

// Keys is none.
func (BridgePorts) Keys() []Field { return nil }

// Ask answers for a packet that no bridge handed up.
func (b BridgePorts) Ask(Reader, string) Truth { return Of(b.Unbridged) }
