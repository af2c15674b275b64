package transaction

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"nftmigrate/internal/durable"
)

// A State is how far a migration came.
type State string

// The states. A migration is open in the first four.
const (
	// Prepared: the snapshot is on disk and a guard is armed, or about to be;
	// what the kernel holds is old, new, or on the way between.
	Prepared State = "prepared"
	// Waiting: the new rules are in effect, for as long as the deadline says.
	Waiting State = "waiting"
	// Confirming: the new rules stay; the changes on disk are under way.
	Confirming State = "confirming"
	// RollingBack: the old rules are being put back.
	RollingBack State = "rolling-back"
	// Confirmed: the migration is done.
	Confirmed State = "confirmed"
	// RolledBack: the old rules are in effect.
	RolledBack State = "rolled-back"
)

// Open reports whether something is left to do in a state.
func (s State) Open() bool { return s != Confirmed && s != RolledBack }

// A Record is what is kept of a migration. Its file is the truth about it.
type Record struct {
	Schema string `json:"schema"`
	// ID names the migration and its directory.
	ID    string `json:"id"`
	State State  `json:"state"`
	// Boot is the boot of the machine in which the rules were committed.
	Boot string `json:"boot"`
	// Namespace is the inode of the network namespace, Netns the name under
	// which to open it; "" is the namespace of the process.
	Namespace uint64 `json:"namespace"`
	Netns     string `json:"netns,omitempty"`
	// Deadline is when the guard rolls back, in nanoseconds since the boot.
	Deadline Instant `json:"deadline"`
	// Timeout is how long that was from the commit, in nanoseconds.
	Timeout time.Duration `json:"timeout"`
	// Token is the SHA-256 of the word that confirms, in hexadecimal. The word
	// itself is only told to whoever applied.
	Token string `json:"token"`
	// Session is the connection under which the migration was applied, nil when
	// it was none; Before are the connections that were there when it was.
	Session *Connection  `json:"session,omitempty"`
	Before  []Connection `json:"before,omitempty"`
	// Applier is the process that applies.
	Applier Process `json:"applier"`
	// Changed names what the migration changes, and a rollback puts back: parts
	// of the snapshot.
	Changed []string `json:"changed"`
	// Began and Ended are times of day, for people.
	Began time.Time  `json:"began"`
	Ended *time.Time `json:"ended,omitempty"`
	// Reason says why the state is what it is, for people.
	Reason string `json:"reason,omitempty"`
	// Failed says why the last attempt to finish failed, "" when none did.
	Failed string `json:"failed,omitempty"`
}

const recordSchema = "nftmigrate/migration/1"

// recordName is the record's file in the directory of a migration.
const recordName = "record.json"

// errDamaged is wrapped when a record cannot be understood.
var errDamaged = errors.New("the record is damaged")

func readRecord(dir string) (*Record, error) {
	path := filepath.Join(dir, recordName)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(Record)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, errDamaged, err)
	}
	if r.Schema != recordSchema {
		return nil, fmt.Errorf("%s: its schema is %q, this program knows %q; use the program that made it", path, r.Schema, recordSchema)
	}
	switch r.State {
	case Prepared, Waiting, Confirming, RollingBack, Confirmed, RolledBack:
	default:
		return nil, fmt.Errorf("%s: %w: there is no state %q", path, errDamaged, r.State)
	}
	if r.ID != filepath.Base(dir) {
		return nil, fmt.Errorf("%s: %w: it is of migration %q", path, errDamaged, r.ID)
	}
	return r, nil
}

func (r *Record) write(dir string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return durable.Write(filepath.Join(dir, recordName), append(b, '\n'), 0o600)
}

// notThere reports whether an error says that a file does not exist.
func notThere(err error) bool { return errors.Is(err, fs.ErrNotExist) }
