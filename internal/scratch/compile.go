package scratch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/diag"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
)

// timeLimit bounds the work on one text.
const timeLimit = time.Minute

// A MissingError says that the machine lacks something that compiling needs: a
// program or a right. Programs exit with 4 for it.
type MissingError struct {
	What string
	Err  error
}

// Error names what is missing.
func (e *MissingError) Error() string {
	if e.Err == nil {
		return "compile nft text: missing " + e.What
	}
	return fmt.Sprintf("compile nft text: missing %s: %v", e.What, e.Err)
}

// Unwrap returns why it is known to be missing.
func (e *MissingError) Unwrap() error { return e.Err }

// A Ruleset is what the kernel held after a text was loaded.
type Ruleset struct {
	// Batch makes the ruleset in a namespace without tables of these names.
	Batch []netlink.Message
	// Dump is the kernel's own account, in raw messages.
	Dump []netlink.Message
	// Listing is the output of "nft list ruleset".
	Listing string
}

// Compile loads a text into an empty scratch namespace and returns the batch
// that makes the same ruleset. What nft says about the text is in the list; a
// list with errors comes without a batch. The error is a [*MissingError] when
// the machine lacks nft or the right to make namespaces.
func Compile(ctx context.Context, src *diag.Source) ([]netlink.Message, diag.List, error) {
	r, list, err := Load(ctx, src)
	if r == nil {
		return nil, list, err
	}
	return r.Batch, list, err
}

// Load is [Compile], and also returns the dump and the listing.
func Load(ctx context.Context, src *diag.Source) (*Ruleset, diag.List, error) {
	if list := unfit(src); list != nil {
		return nil, list, nil
	}
	path, err := exec.LookPath("nft")
	if err != nil {
		return nil, nil, &MissingError{What: "the program nft", Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	n, err := netns.New()
	var out outcome
	switch {
	case err == nil:
		out = load(ctx, n, path, src.Text)
		n.Close()
	case errors.Is(err, unix.EPERM):
		out, err = loadAsUser(ctx, path, src.Text)
	}
	if err != nil {
		return nil, nil, err
	}
	return out.ruleset(ctx, src)
}

// An outcome is how one text went, in a form that crosses from one process to
// another.
type outcome struct {
	Failed  string // a failure that is not nft's
	Refused bool   // nft or the kernel refused the text
	Said    string // nft's messages
	Dump    []byte
	Listing string
}

func (o outcome) ruleset(ctx context.Context, src *diag.Source) (*Ruleset, diag.List, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("compile nft text %s: %w", src.Name, err)
	}
	switch {
	case o.Failed != "":
		return nil, nil, fmt.Errorf("compile nft text %s: %s", src.Name, o.Failed)
	case o.Refused && tooLong(o.Said):
		return nil, nil, &MissingError{
			What: fmt.Sprintf("CAP_NET_ADMIN outside of a user namespace: a text of %d bytes is more than nft can send with the default socket buffer", len(src.Text)),
			Err:  unix.EMSGSIZE,
		}
	}
	list := parseMessages(src, o.Said, o.Refused)
	if o.Refused {
		return nil, list, nil
	}
	dump, err := nfnetlink.Unmarshal(o.Dump)
	if err != nil {
		return nil, list, fmt.Errorf("compile nft text %s: %w", src.Name, err)
	}
	return &Ruleset{Batch: nfnetlink.Replay(dump), Dump: dump, Listing: o.Listing}, list, nil
}

// load loads a text inside a namespace and reads it back.
func load(ctx context.Context, n *netns.NS, nft string, text []byte) outcome {
	dir, err := os.MkdirTemp("", "nftmigrate-")
	if err != nil {
		return outcome{Failed: err.Error()}
	}
	defer os.RemoveAll(dir)
	run := func(input []byte, args ...string) (stdout, stderr string, err error) {
		var out, messages bytes.Buffer
		err = n.Do(func() error {
			cmd := exec.CommandContext(ctx, nft, args...)
			cmd.Dir, cmd.Env = dir, []string{"LC_ALL=C", "TZ=UTC"}
			cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &messages
			return cmd.Run()
		})
		return out.String(), messages.String(), err
	}
	_, said, err := run(text, "-f", "-")
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exited() && said != "":
		return outcome{Refused: true, Said: said}
	case err != nil:
		return outcome{Failed: fmt.Sprintf("run nft: %v: %s", err, said)}
	}
	var dump *nfnetlink.Dump
	err = n.Do(func() error {
		c, err := nfnetlink.Dial()
		if err != nil {
			return err
		}
		defer c.Close()
		dump, err = nfnetlink.DumpRuleset(c)
		return err
	})
	if err != nil {
		return outcome{Failed: err.Error()}
	}
	listing, messages, err := run(nil, "list", "ruleset")
	if err != nil {
		return outcome{Failed: fmt.Sprintf("list the loaded ruleset: %v: %s", err, messages)}
	}
	return outcome{Said: said, Dump: nfnetlink.Marshal(dump.Messages), Listing: listing}
}
