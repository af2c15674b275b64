package apply

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"nftmigrate/internal/nfnetlink"
)

// batchMagic is how the file of a batch begins.
const batchMagic = "nftmigrate batch 1 "

// ErrDamaged is wrapped when the file of a batch is not what was written.
var ErrDamaged = errors.New("the file of the batch is damaged")

// Marshal is the form in which a batch is kept in a file: a line with a digest of
// the rest, a line of JSON with the labels, and the messages as they are sent. The
// byte order of the messages' headers is that of the machine.
func (b Batch) Marshal() ([]byte, error) {
	labels, err := json.Marshal(b.Labels)
	if err != nil {
		return nil, err
	}
	rest := append(append(labels, '\n'), nfnetlink.Marshal(b.Messages)...)
	sum := sha256.Sum256(rest)
	return append([]byte(batchMagic+hex.EncodeToString(sum[:])+"\n"), rest...), nil
}

// UnmarshalBatch reads what Marshal wrote. Anything else wraps ErrDamaged.
func UnmarshalBatch(data []byte) (Batch, error) {
	var b Batch
	head, rest, ok := bytes.Cut(data, []byte{'\n'})
	want, magic := bytes.CutPrefix(head, []byte(batchMagic))
	sum := sha256.Sum256(rest)
	switch {
	case !ok || !magic:
		return b, fmt.Errorf("%w: it does not begin with %q", ErrDamaged, batchMagic)
	case string(want) != hex.EncodeToString(sum[:]):
		return b, fmt.Errorf("%w: its digest is of other bytes", ErrDamaged)
	}
	labels, messages, _ := bytes.Cut(rest, []byte{'\n'})
	if err := json.Unmarshal(labels, &b.Labels); err != nil {
		return b, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	var err error
	if b.Messages, err = nfnetlink.Unmarshal(messages); err != nil {
		return b, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return b, nil
}
