// Command migrate moves a Linux host from iptables to nftables and shows that
// nothing changed on the way.
package main

import (
	"os"

	"nftmigrate/internal/scratch"
)

func main() {
	scratch.Main()
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
