package hosttest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"nftmigrate/internal/testkit"
)

// program is where the machine has ours.
const program = "/usr/local/sbin/migrate"

// Those who reach the machine: the operator, and the health check.
const (
	operator = "10.0.0.7"
	health   = "10.244.0.7"
	server   = "10.0.0.1"
)

// incidentRules are those before the incident.
const incidentRules = `*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -s 10.244.0.0/16 -p tcp -m tcp --dport 8080 -j ACCEPT
-A INPUT -s 10.0.0.0/24 -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
`

// A client is a network namespace that is connected to a machine.
type client struct {
	*machine
	name, key string
	log       *transcript
}

// A transcript is what an operator typed, and what she saw.
type transcript struct{ strings.Builder }

// connect connects a client with a machine that runs. What a machine had is gone when
// it starts again.
func (c *client) connect() {
	c.t.Helper()
	for _, args := range [][]string{
		{"ip", "-n", c.name, "link", "add", "to-server", "type", "veth", "peer", "name", "eth7", "netns", fmt.Sprint(c.leader)},
		{"ip", "-n", c.name, "link", "set", "lo", "up"},
		{"ip", "-n", c.name, "link", "set", "to-server", "up"},
		{"ip", "-n", c.name, "address", "add", operator + "/24", "dev", "to-server"},
		{"ip", "-n", c.name, "address", "add", health + "/32", "dev", "to-server"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			c.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	c.run("ip", "link", "set", "eth7", "up")
	c.run("ip", "address", "add", server+"/24", "dev", "eth7")
	c.run("ip", "route", "add", health+"/32", "dev", "eth7")
}

func newClient(t *testing.T, m *machine) *client {
	t.Helper()
	testkit.Need(t, testkit.Tool("ip"), testkit.Tool("ssh"), testkit.Tool("ssh-keygen"))
	c := &client{machine: m, name: fmt.Sprintf("migrate-client-%d", os.Getpid()), key: filepath.Join(t.TempDir(), "key"), log: new(transcript)}
	if out, err := exec.Command("ip", "netns", "add", c.name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", c.name).Run() })
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", c.key).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	public, err := os.ReadFile(c.key + ".pub")
	if err == nil {
		err = os.MkdirAll(filepath.Join(m.root, "root/.ssh"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(m.root, "root/.ssh/authorized_keys"), public, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ssh is a command over SSH: over a connection of its own, or over one that lasts, when
// its socket is given.
func (c *client) ssh(socket, command string) *exec.Cmd {
	args := []string{"netns", "exec", c.name, "ssh", "-i", c.key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=3", "-o", "BatchMode=yes"}
	if socket != "" {
		args = append(args, "-o", "ControlMaster=auto", "-o", "ControlPath="+socket, "-o", "ControlPersist=yes")
	}
	return exec.Command("ip", append(args, "root@"+server, command)...)
}

// type_ types a command over SSH and returns what it says and its exit code.
func (c *client) types(socket, command string) (string, int) {
	c.t.Helper()
	cmd := c.ssh(socket, command)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // a connection that lasts keeps the pipe
	err := cmd.Run()
	code := cmd.ProcessState.ExitCode()
	fmt.Fprintf(c.log, "operator$ %s\n%s", command, out.String())
	if code != 0 {
		fmt.Fprintf(c.log, "[exit code %d]\n", code)
	}
	if code < 0 && err != nil {
		c.t.Logf("%s: %v", command, err)
	}
	return out.String(), code
}

// must types a command that has to exit with a code.
func (c *client) must(socket, command string, code int, wants ...string) string {
	c.t.Helper()
	out, got := c.types(socket, command)
	if got != code {
		c.t.Fatalf("%s: exit code %d, want %d\n%s", command, got, code, out)
	}
	for _, want := range wants {
		if !strings.Contains(out, want) {
			c.t.Fatalf("%s: it does not say %q\n%s", command, want, out)
		}
	}
	return out
}

// reaches reports whether a new connection over SSH is possible.
func (c *client) reaches() bool {
	return c.ssh("", "true").Run() == nil
}

func (c *client) note(format string, args ...any) {
	fmt.Fprintf(c.log, "\n# "+format+"\n", args...)
	c.t.Logf(format, args...)
}

// up waits until the machine answers over SSH.
func (c *client) up() {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); !c.reaches(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("no connection over SSH\n%s", c.run("journalctl", "-b", "--no-pager", "-n", "40"))
		}
	}
}

var tokenOf = regexp.MustCompile(`migrate confirm ([a-z2-9]{4}-[a-z2-9]{4}-[a-z2-9]{4})`)

// TestIncident: G3 to G6, G8 and G30, over real SSH: the rule of the incident is refused;
// forced, it locks out until the deadline, whatever is done to systemd; good rules are
// confirmed from a new connection, survive a restart, and are rolled back identical.
func TestIncident(t *testing.T) {
	m := newMachine(t)
	build := exec.Command("go", "build", "-o", filepath.Join(m.root, program), "nftmigrate/cmd/migrate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for path, text := range map[string]string{
		"etc/iptables/rules.v4": incidentRules, "etc/ssh/sshd_config.d/test.conf": "PermitRootLogin prohibit-password\nUseDNS no\n",
	} {
		if err := os.WriteFile(filepath.Join(m.root, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := newClient(t, m)
	m.start()
	c.connect()
	c.up()
	saved := rulesOnly(m.run("iptables-save"))
	units := m.run("systemctl", "list-unit-files", "--no-pager", "netfilter-persistent.service", "nftables.service")

	c.note("Somebody wants to keep 10.0.0.0/8 out, and puts the rule first.")
	c.must("", "iptables-save > new.v4 && sed -i '0,/^-A INPUT/s//-A INPUT -s 10.0.0.0\\/8 -j DROP\\n&/' new.v4 && grep -n INPUT new.v4", 0, "-s 10.0.0.0/8 -j DROP")
	c.must("", "migrate plan -o bad new.v4", 0, "Next: migrate apply bad")
	c.must("", "migrate apply bad", 1, "the way in would close: a new connection from "+operator)
	if !c.reaches() {
		t.Fatal("a refusal closed the way in")
	}

	const deadline = 20 * time.Second
	c.note("She insists. Nobody can log in any more, and systemd is reloaded and executed again meanwhile.")
	socket := filepath.Join(t.TempDir(), "old")
	forced := c.ssh(socket, "migrate apply --force --timeout "+deadline.String()+" bad")
	var said bytes.Buffer
	forced.Stdout, forced.Stderr = &said, &said
	forced.WaitDelay = time.Second
	if err := forced.Start(); err != nil {
		t.Fatal(err)
	}
	var began time.Time
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if out, _ := m.try(program, "status"); strings.Contains(out, "waiting") {
			began = time.Now()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it is not in effect\n%s\n%s", said.String(), m.run(program, "status"))
		}
	}
	if out := m.run("systemctl", "is-active", "nftmigrate-guard-1.service"); strings.TrimSpace(out) != "active" {
		t.Errorf("the guard is no service: %s", out)
	}
	if c.reaches() {
		t.Fatal("the rule of the incident does not lock out")
	}
	m.run("systemctl", "daemon-reload")
	m.run("systemctl", "daemon-reexec")
	for end := time.Now().Add(2 * time.Minute); !c.reaches(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still locked out\n%s", m.run(program, "status"))
		}
	}
	c.note("%.0f seconds after it was in effect she can log in again.", time.Since(began).Seconds())
	_ = forced.Process.Kill()
	_ = forced.Wait()
	fmt.Fprintf(c.log, "operator$ migrate apply --force --timeout %v bad\n%s[the connection hangs]\n", deadline, said.String())
	c.must("", "migrate status", 0, "rolled-back: no confirmation came within "+deadline.String())
	if now := rulesOnly(m.run("iptables-save")); now != saved {
		t.Errorf("the old rules are not what they were:\n%s\nwant\n%s", now, saved)
	}

	c.note("The migration: plan, apply, confirm.")
	before := m.etc()
	c.must("", "migrate plan -o good", 0, "equivalent: rules.v4 and its translation")
	session := filepath.Join(t.TempDir(), "session")
	c.must(session, "true", 0) // the connection that lasts
	out := c.must(session, "migrate apply --no-wait good", 0, "the service nftmigrate-guard-2")
	token := tokenOf.FindStringSubmatch(out)
	if token == nil {
		t.Fatalf("no token:\n%s", out)
	}
	if after := m.etc(); after != before {
		t.Error("files changed before the confirmation")
	}
	c.note("From the same connection it is refused, from a new one accepted.")
	c.must(session, "migrate confirm "+token[1], 1, "was there before the rules were")
	c.must("", "migrate confirm "+token[1], 0, "confirmed: migration 2 lasts")
	_ = c.ssh(session, "").Run()
	_ = exec.Command("ssh", "-O", "exit", "-o", "ControlPath="+session, "root@"+server).Run()

	c.note("A restart.")
	ruleset := m.run("nft", "list", "table", "ip", "firewall")
	m.reboot()
	c.connect()
	c.up()
	if again := m.run("nft", "list", "table", "ip", "firewall"); again != ruleset {
		t.Errorf("after a restart the rules are\n%s\nwant\n%s", again, ruleset)
	}
	c.must("", "nft list table ip firewall; iptables-save; systemctl is-enabled netfilter-persistent nftables", 0, "tcp dport 22 accept", "disabled\nenabled")

	c.note("Weeks later: back.")
	c.must("", "migrate rollback", 0, "rolled back: what was there before migration 2 is in effect again")
	if after := m.etc(); after != before {
		t.Errorf("files are not what they were")
	}
	m.reboot()
	c.connect()
	c.up()
	if now := rulesOnly(m.run("iptables-save")); now != saved {
		t.Errorf("after a rollback and a restart there are\n%s\nwant\n%s", now, saved)
	}
	if now := m.run("systemctl", "list-unit-files", "--no-pager", "netfilter-persistent.service", "nftables.service"); now != units {
		t.Errorf("units are\n%s\nwant\n%s", now, units)
	}
	if tables := m.run("nft", "list", "tables"); strings.Contains(tables, "firewall") {
		t.Errorf("our table is left: %s", tables)
	}
	if path := os.Getenv("MIGRATE_INCIDENT_LOG"); path != "" {
		if err := os.WriteFile(path, []byte(strings.TrimLeft(c.log.String(), "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// rulesOnly leaves out comments and counters.
func rulesOnly(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line[0] == ':' {
			line = line[:strings.IndexByte(line, '[')] + "\n"
		}
		if line[0] != '#' {
			b.WriteString(line)
		}
	}
	return b.String()
}
