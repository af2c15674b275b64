// Package snapshot is everything that filters packets in one network namespace,
// as the kernel keeps it: the tables of nf_tables, those of legacy xtables, and
// the sets of ipset. It is what a migration can be undone from.
//
// A snapshot is raw: no program and no text is between the kernel and it, because
// what a listing tells of a rule with an xt expression cannot be loaded again. It
// is a file that is read again and compared before anybody relies on it, and it
// can be tried: restored in a namespace of its own, and compared there.
//
// What is restored are named parts, and nothing else. What others changed in the
// meantime stays, unless it is in one of these parts, and then it is told.
//
// Not in a snapshot: the tables of ebtables (which the kernel does not list without
// making them), the state of matches like recent and hashlimit, connections, objects
// of nfnetlink_acct and nfnetlink_cttimeout that rules mean by name, and sysctls.
//
// Call [Take], [Snapshot.Write] and [Snapshot.Try]; then [Snapshot.Restore].
package snapshot
