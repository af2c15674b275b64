package equivalence_test

import (
	"context"
	"testing"
	"time"

	"nftmigrate/equivalence"
)

// TestJoinStacks proves what becomes of rules that are divided among two tables at the
// same hooks, in both orders: an accept in one is not final for the other, a drop is.
func TestJoinStacks(t *testing.T) {
	const (
		drops   = "*filter\n:INPUT DROP\n:FORWARD DROP\n:OUTPUT ACCEPT\n"
		accepts = "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n"
		nat     = "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n"
		ban     = "-A INPUT -p tcp -m tcp --dport 22 -j BAN\n"
		banned  = "-A BAN -s 192.0.2.1/32 -j DROP\n"
		ssh     = "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"
		friends = "-A INPUT -s 192.0.2.0/24 -j ACCEPT\n"
		publish = "-A FORWARD -o dev1 -p tcp -m tcp --dport 80 -j ACCEPT\n"
		dnat    = "-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.1\n"
		other   = "-A PREROUTING -p tcp -m tcp --dport 80:90 -j DNAT --to-destination 10.0.0.2\n"
	)
	for _, c := range []struct {
		name            string
		whole, ours     string
		kept            string
		oursFirst, last equivalence.Word // ours before what is kept, and behind it
	}{
		{"a ban", drops + ":BAN -\n" + ban + ssh + banned, drops + ssh, accepts + ":BAN -\n" + ban + banned, equivalence.Equivalent, equivalence.Equivalent},
		{"a ban is lost", drops + ":BAN -\n" + ban + ssh + banned, drops + ssh, accepts, equivalence.Different, equivalence.Different},
		{"an accept above the ban", drops + ":BAN -\n" + friends + ban + ssh + banned, drops + friends + ssh, accepts + ":BAN -\n" + ban + banned, equivalence.Different, equivalence.Different},
		{"what stays accepts, our policy drops", drops + publish, drops, accepts + publish, equivalence.Different, equivalence.Different},
		{"the policy of that chain stays, too", drops + publish, "*filter\n:INPUT DROP\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n", "*filter\n:INPUT ACCEPT\n:FORWARD DROP\n:OUTPUT ACCEPT\n" + publish,
			equivalence.Equivalent, equivalence.Equivalent},
		{"the first NAT rule wins", nat + dnat + other, nat + dnat, nat + other, equivalence.Equivalent, equivalence.Different},
	} {
		for _, o := range []struct {
			name          string
			first, second string
			want          equivalence.Word
		}{{"ours first", c.ours, c.kept, c.oursFirst}, {"ours last", c.kept, c.ours, c.last}} {
			b := equivalence.Join(machineOf("first", o.first+"COMMIT\n"), machineOf("second", o.second+"COMMIT\n"))
			p, err := equivalence.Prove(context.Background(), machineOf("whole", c.whole+"COMMIT\n"), b, equivalence.ProofOptions{Versions: []int{4}, Time: time.Minute})
			if err != nil {
				t.Errorf("%s, %s: %v", c.name, o.name, err)
			} else if p.Word != o.want {
				t.Errorf("%s, %s: %s (%s), want %s", c.name, o.name, p.Word, p.Incomplete, o.want)
			}
		}
	}
}
