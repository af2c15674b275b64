package apply

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBatchFile(t *testing.T) {
	for _, want := range append(stages, Batch{}) {
		data, err := want.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := UnmarshalBatch(data)
		if err != nil || len(got.Messages) != len(want.Messages) {
			t.Fatalf("%d messages (%v), want %d", len(got.Messages), err, len(want.Messages))
		}
		for i := range want.Messages {
			if diff := cmp.Diff(want.Messages[i].Data, got.Messages[i].Data); diff != "" || got.Messages[i].Header.Type != want.Messages[i].Header.Type {
				t.Errorf("message %d (-written +read):\n%s", i, diff)
			}
		}
		if diff := cmp.Diff(want.Labels, got.Labels); diff != "" {
			t.Errorf("labels (-written +read):\n%s", diff)
		}
		for i := range data { // each byte, changed and as the end
			bad := append([]byte{}, data...)
			bad[i] ^= 0x20
			if _, err := UnmarshalBatch(bad); !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d changed: error %v, want ErrDamaged", i, err)
			}
			if _, err := UnmarshalBatch(data[:i]); !errors.Is(err, ErrDamaged) {
				t.Fatalf("cut at byte %d: error %v, want ErrDamaged", i, err)
			}
		}
	}
}
