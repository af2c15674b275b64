package main

import "github.com/spf13/cobra"

func applyCommand(s *streams) *cobra.Command { return &cobra.Command{Use: "apply"} }
