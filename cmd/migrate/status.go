package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"nftmigrate/transaction"
)

const statusSchema = "nftmigrate/status/1"

// statusJSON is the document of migrate status.
type statusJSON struct {
	Schema     string          `json:"schema"`
	Migrations []migrationJSON `json:"migrations"`
}

type migrationJSON struct {
	ID        string            `json:"id"`
	State     transaction.State `json:"state"`
	Namespace string            `json:"namespace,omitempty"`
	Began     time.Time         `json:"began"`
	Ended     *time.Time        `json:"ended,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	Failed    string            `json:"failed,omitempty"`
	// Left are the seconds to the rollback, and Guards the processes that would
	// do it, of one that waits.
	Left   *float64 `json:"seconds_left,omitempty"`
	Guards []int    `json:"guards,omitempty"`
	// Abandoned says why nobody is at work on one that is open.
	Abandoned string   `json:"abandoned,omitempty"`
	Changed   []string `json:"changed"`
}

func statusCommand(s *streams) *cobra.Command {
	var (
		where  storeFlags
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "status",
		Short: "Tell what migrations there were, and whether one waits",
		Long: `Status lists the migrations of this host. It changes nothing.

Exit codes: 0 none is open; 1 one waits for its confirmation, or is being finished
or undone; 4 the list cannot be read.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var list []*transaction.Migration
			if _, err := os.Stat(where.dir); err == nil {
				store, err := transaction.OpenStore(where.dir)
				if err == nil {
					list, err = store.List()
				}
				if err != nil {
					return &exit{exitMissing, err}
				}
			} else if !errors.Is(err, os.ErrNotExist) {
				return &exit{exitMissing, err}
			}
			doc := statusJSON{Schema: statusSchema, Migrations: []migrationJSON{}}
			open := false
			for _, m := range list {
				open = open || m.Record.State.Open()
				doc.Migrations = append(doc.Migrations, statusOf(m))
			}
			var err error
			if asJSON {
				e := json.NewEncoder(s.out)
				e.SetIndent("", "  ")
				err = e.Encode(doc)
			} else {
				err = doc.show(s.out)
			}
			if err == nil && open {
				return &exit{exitDifferent, nil}
			}
			return err
		},
	}
	where.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON document")
	return c
}

func statusOf(m *transaction.Migration) migrationJSON {
	r := m.Record
	j := migrationJSON{ID: r.ID, State: r.State, Namespace: r.Netns, Began: r.Began, Ended: r.Ended, Reason: r.Reason, Failed: r.Failed, Changed: r.Changed}
	if j.Abandoned = m.Abandoned(); j.Abandoned != "" {
		return j
	}
	if r.State == transaction.Waiting || r.State == transaction.Prepared {
		left := r.Deadline.Until().Seconds()
		j.Left = &left
		for _, p := range m.Guards() {
			j.Guards = append(j.Guards, p.PID)
		}
	}
	return j
}

func (d *statusJSON) show(w io.Writer) error {
	if len(d.Migrations) == 0 {
		_, err := fmt.Fprintln(w, "no migration was made on this host")
		return err
	}
	for _, m := range d.Migrations {
		line := fmt.Sprintf("%s  %s  %s", m.ID, m.Began.Format(time.RFC3339), m.State)
		if m.Namespace != "" {
			line += "  in namespace " + m.Namespace
		}
		if m.Reason != "" && m.State != transaction.Confirmed {
			line += ": " + m.Reason
		}
		if m.Abandoned != "" {
			line += ": " + m.Abandoned + "; migrate recover ends it"
		}
		if m.Left != nil {
			line += fmt.Sprintf(": rolled back in %s, unless it is confirmed; %d guards see to it", seconds(time.Duration(*m.Left*float64(time.Second))), len(m.Guards))
		}
		if m.Failed != "" {
			line += "\n    the last attempt failed: " + m.Failed
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
