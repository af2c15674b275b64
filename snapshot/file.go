package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/durable"
	"nftmigrate/internal/ipsetlink"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/xtables"
)

// version is that of the form of the file.
const version = 1

// title is how the first line of a file begins. After it come the version, the
// length of what follows the line, and its SHA-256.
const title = "nftmigrate snapshot"

// A record is a snapshot in a file.
type record struct {
	Order      string            `json:"byte_order"`
	Taken      time.Time         `json:"taken"`
	BootID     string            `json:"boot_id"`
	Namespace  uint64            `json:"namespace"`
	Lacks      map[Plane]string  `json:"lacks"`
	Generation uint32            `json:"generation"`
	Ruleset    []byte            `json:"ruleset"`
	Numbered   map[uint16]string `json:"numbered_sets"`
	Legacy     [][]byte          `json:"legacy"`
	Sets       []*ipsetlink.Set  `json:"sets"`
	Devices    map[int]string    `json:"devices"`
}

func orderName() string {
	if byteOrder.Uint16([]byte{1, 0}) == 1 {
		return "little"
	}
	return "big"
}

// Marshal returns the snapshot as the bytes of a file, with a version and a
// checksum. The same snapshot gives the same bytes. They can be read by machines of
// the same byte order.
func (s *Snapshot) Marshal() ([]byte, error) {
	r := record{
		Order: orderName(), Taken: s.Taken, BootID: s.BootID, Namespace: s.Namespace, Lacks: s.Lacks,
		Generation: s.Generation, Ruleset: nfnetlink.Marshal(s.Ruleset), Numbered: s.numbered, Sets: s.Sets, Devices: s.Devices,
	}
	for _, t := range s.Legacy {
		b, err := t.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("encode a snapshot: %w", err)
		}
		r.Legacy = append(r.Legacy, b)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode a snapshot: %w", err)
	}
	sum := sha256.Sum256(body)
	return append(fmt.Appendf(nil, "%s %d %d %x\n", title, version, len(body), sum), body...), nil
}

// Unmarshal reads what Marshal wrote. Bytes that were cut off or changed give an
// error.
func Unmarshal(b []byte) (*Snapshot, error) {
	s, err := unmarshal(b)
	if err != nil {
		return nil, fmt.Errorf("read a snapshot: %w", err)
	}
	return s, nil
}

func unmarshal(b []byte) (*Snapshot, error) {
	line, body, found := bytes.Cut(b, []byte("\n"))
	rest, ok := strings.CutPrefix(string(line), title+" ")
	words := strings.Fields(rest)
	if !found || !ok || len(words) != 3 {
		return nil, errors.New("it is none")
	}
	if words[0] != strconv.Itoa(version) {
		return nil, fmt.Errorf("it has version %.20q, this program reads version %d", words[0], version)
	}
	if words[1] != strconv.Itoa(len(body)) {
		return nil, fmt.Errorf("it has %d bytes, and says %.20q: it was cut off", len(body), words[1])
	}
	if sum := sha256.Sum256(body); words[2] != hex.EncodeToString(sum[:]) {
		return nil, errors.New("its checksum is wrong: it was changed, or the disk fails")
	}
	var r record
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return nil, err
	}
	return r.snapshot()
}

func (r *record) snapshot() (*Snapshot, error) {
	if r.Order != orderName() {
		return nil, fmt.Errorf("it is of a machine with the byte order %.20q", r.Order)
	}
	s := &Snapshot{
		Taken: r.Taken, BootID: r.BootID, Namespace: r.Namespace, Lacks: r.Lacks, Generation: r.Generation,
		numbered: r.Numbered, Sets: r.Sets, Devices: r.Devices,
	}
	var err error
	if s.Ruleset, err = nfnetlink.Unmarshal(r.Ruleset); err != nil {
		return nil, fmt.Errorf("the ruleset of nf_tables: %w", err)
	}
	for _, m := range s.Ruleset {
		kind, ours := nfnetlink.Kind(m)
		if _, known := nouns[kind]; !ours || !known || nfnetlink.TableOf(m).Name == "" || nfnetlink.Family(m) == unix.NFPROTO_UNSPEC {
			return nil, fmt.Errorf("the ruleset of nf_tables: message %#x makes nothing", m.Header.Type)
		}
	}
	for _, b := range r.Legacy {
		t, err := xtables.Unmarshal(b)
		if err != nil {
			return nil, err
		}
		s.Legacy = append(s.Legacy, t)
	}
	for _, set := range s.Sets {
		if set == nil {
			return nil, errors.New("a set is missing")
		}
		if err := set.Check(); err != nil {
			return nil, err
		}
	}
	unnamed := false
	eachSetNumber(s.Ruleset, func(number []byte, _ bool) {
		unnamed = unnamed || s.numbered[byteOrder.Uint16(number)] == ""
	})
	if unnamed {
		return nil, errors.New("a rule of nf_tables means a set that has no name")
	}
	return s, nil
}

// Write writes the snapshot to a file that survives a power cut, reads it again,
// and compares what it then holds with what was meant. Without an error the file
// is a backup; with one, nothing may be changed that would need it.
func (s *Snapshot) Write(path string) error {
	b, err := s.Marshal()
	if err != nil {
		return fmt.Errorf("write a snapshot: %w", err)
	}
	if err := durable.Write(path, b, 0o600); err != nil {
		return fmt.Errorf("write a snapshot: %w", err)
	}
	again, err := Read(path)
	if err != nil {
		return err
	}
	reread, err := again.Marshal()
	if err != nil {
		return err
	}
	if !bytes.Equal(b, reread) {
		return fmt.Errorf("write a snapshot: %s holds something else than was written", path)
	}
	return nil
}

// Read reads a file that Write made.
func Read(path string) (*Snapshot, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read a snapshot: %w", err)
	}
	s, err := unmarshal(b)
	if err != nil {
		return nil, fmt.Errorf("read the snapshot %s: %w", path, err)
	}
	return s, nil
}
