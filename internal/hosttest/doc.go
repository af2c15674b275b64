// Package hosttest tests what a boot makes of the changes that package persist
// makes: in a real system of Debian with its real packages, which is started,
// started again, and cut off, as a container of systemd-nspawn; and, for its kernel,
// its clock and a disk that loses what was not synced, as a computer of QEMU.
//
// It has tests alone. They run when MIGRATE_HOSTS names a directory in which to
// keep the system from one run to the next ("make test-hosts"); where it is empty,
// debootstrap fills it from a mirror. MIGRATE_HOSTS_LOG names a file for the
// results.
package hosttest
