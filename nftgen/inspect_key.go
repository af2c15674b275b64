package nftgen

// Keys reports whether a field can be a part of a set's key: its values are
// compared as a whole, and not one bit at a time.
func (f Field) Keys() bool {
	switch f.load.kind {
	case loadPayload, loadMeta, loadCT:
		return f.load.mask == nil && !f.load.present && !f.load.numbered && f.Type.bits == nil && Pure(Compare{Field: f})
	}
	return false
}

// IsName reports whether the values of a type are names, which have no order.
func (t *Datatype) IsName() bool { return t.text }

// IsAddress reports whether spans of the type can be written as networks.
func (t *Datatype) IsAddress() bool { return t.prefixes }
