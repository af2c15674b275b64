package script_test

import (
	"testing"

	"nftmigrate/script"
)

func TestRecognise(t *testing.T) {
	for text, want := range map[string]bool{
		"#!/bin/sh\necho":                            true,
		"#!/usr/bin/env bash\n":                      true,
		"#!/usr/sbin/nft -f\ntable ip x {}":          false,
		"#!/bin/sh -e":                               true,
		"iptables -A INPUT -j DROP":                  true,
		"\n# x\n  sudo /sbin/ip6tables -F":           true,
		"IPT=/sbin/iptables\n$IPT -F":                true,
		"$IPT -F":                                    true,
		"for i in 1; do iptables -A INPUT; done":     true,
		"iptables-restore <<EOF\n*filter\nCOMMIT":    true,
		"ipset create x hash:ip":                     true,
		"*filter\n:INPUT ACCEPT\nCOMMIT":             false,
		"# by iptables-save\n*filter\nCOMMIT":        false,
		"*filter\niptables -A INPUT -j DROP\nCOMMIT": false,
		":INPUT ACCEPT\n-A INPUT -j DROP":            false,
		"-A INPUT -m comment --comment \"iptables\"": false,
		"create x hash:ip\nadd x 10.0.0.1":           false,
		"table ip x { }":                             false,
		"nothing of the kind":                        false,
		"":                                           false,
	} {
		if got := script.Recognise([]byte(text)); got != want {
			t.Errorf("Recognise(%q) = %v, want %v", text, got, want)
		}
	}
}
