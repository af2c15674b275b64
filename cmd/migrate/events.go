package main

import (
	"encoding/json"
	"fmt"
)

// events tell what an apply does: a line for people, or an object of JSON for
// programs, each as it happens.
type events struct {
	s      *streams
	asJSON bool
}

// eventSchema is the form and version of an event. Fields are only ever added.
const eventSchema = "nftmigrate/apply/2"

// An event is one step that was done. The words of Event are: checked, refused,
// unchanged, snapshot, guarded, committed, emptied, waiting, confirmed,
// rolled-back.
type event struct {
	Schema string `json:"schema"`
	Event  string `json:"event"`
	Text   string `json:"text"`
	// Token and Seconds are of "waiting": what confirms, and how long it may
	// take.
	Token   string  `json:"token,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	// Migration is the ID, once there is one.
	Migration string `json:"migration,omitempty"`
	// Data is what belongs to the step.
	Data any `json:"data,omitempty"`
}

// tell tells a step. That nobody listens any more is no reason to stop: the guard
// is not told either.
func (e *events) tell(v event) {
	v.Schema = eventSchema
	if !e.asJSON {
		fmt.Fprintf(e.s.out, "%-11s %s\n", v.Event, v.Text)
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		b, _ = json.Marshal(event{Schema: eventSchema, Event: v.Event, Text: v.Text + " (" + err.Error() + ")"})
	}
	fmt.Fprintf(e.s.out, "%s\n", b)
}
