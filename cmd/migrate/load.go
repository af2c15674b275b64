package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"nftmigrate/apply"
)

func loadCommand(s *streams) *cobra.Command {
	var namespace string
	c := &cobra.Command{
		Use:   "load FILE",
		Short: "Commit the batch of a plan, as a boot does",
		Long: `Load commits firewall.batch of a plan: for rulesets with extensions of xtables, which
no text can say and nft cannot load. Nothing is checked but that the file is whole
and that the kernel stores what was sent, and there is no way back: it is what a
boot calls. Everybody else calls migrate apply.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			data, err := os.ReadFile(args[0])
			if err != nil {
				return usage("read the batch: %v", err)
			}
			batch, err := apply.UnmarshalBatch(data)
			if err != nil {
				return usage("%s: %v", args[0], err)
			}
			ns, err := openNamespace(namespace)
			if err != nil {
				return err
			}
			defer ns.Close()
			receipt, err := apply.Switch(c.Context(), ns, batch, apply.Options{})
			if err != nil {
				return missing(err)
			}
			_, err = fmt.Fprintf(s.out, "committed %d messages, read back and found equal\n", receipt.Messages)
			return err
		},
	}
	c.Flags().StringVar(&namespace, "netns", "", "commit in the network namespace of this `NAME` (ip netns)")
	return c
}
