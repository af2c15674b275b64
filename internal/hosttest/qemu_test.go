package hosttest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nftmigrate/internal/testkit"
)

// A virtual is a whole computer: it has a kernel, modules, a clock and a disk of its
// own, which a container has not.
type virtual struct {
	t                                 *testing.T
	image, kernel, initramfs, console string
	key                               string
	port                              int
	qemu                              *exec.Cmd
}

// patience is how long a start may take without KVM on a busy computer.
const patience = 6 * time.Minute

// virtualRules let the operator in, whom QEMU gives the address 10.0.2.2.
var virtualRules = strings.Replace(incidentRules, "10.0.0.0/24", "10.0.2.0/24", 1)

// initDrivers are loaded in this order before there is a disk.
var initDrivers = []string{
	"virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk",
	"failover", "net_failover", "virtio_net", "crc32c_generic", "libcrc32c", "crc16", "mbcache", "jbd2", "ext4",
}

const initScript = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /new
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
for m in %s; do [ ! -e /$m.ko ] || /bin/busybox insmod /$m.ko; done
until [ -e /dev/vda ]; do /bin/busybox sleep 0.2; done
/bin/busybox mount -t ext4 /dev/vda /new || exec /bin/busybox sh
/bin/busybox ip link set eth0 up
/bin/busybox ip address add 10.0.2.15/24 dev eth0
/bin/busybox ip route add default via 10.0.2.2
exec /bin/busybox switch_root /new /sbin/init
`

func command(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// debs returns the directory with the kernel of the release and kmod, which is made
// once.
func debs(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(os.Getenv("MIGRATE_HOSTS"), "kernel-"+release)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	testkit.Need(t, testkit.Tool("apt-get"), testkit.Tool("apt-cache"), testkit.Tool("dpkg"))
	part, err := os.MkdirTemp(filepath.Dir(dir), "kernel-part-")
	if err != nil {
		t.Fatal(err)
	}
	var image string
	for _, word := range strings.Fields(command(t, part, "apt-cache", "depends", "linux-image-cloud-amd64")) {
		if strings.HasPrefix(word, "linux-image-6.") {
			image = word
			break
		}
	}
	if image == "" {
		t.Fatal("apt-cache knows no kernel for linux-image-cloud-amd64")
	}
	command(t, part, "apt-get", "download", image, "kmod")
	packages, _ := filepath.Glob(filepath.Join(part, "*.deb"))
	for _, p := range packages {
		command(t, part, "dpkg", "-x", p, part)
	}
	if err := os.Rename(part, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// newVirtual makes one that is down; change can change its files before.
func newVirtual(t *testing.T, change func(root, modules string)) *virtual {
	t.Helper()
	for _, tool := range []string{"qemu-system-x86_64", "mkfs.ext4", "busybox", "ssh", "ssh-keygen"} {
		testkit.Need(t, testkit.Tool(tool))
	}
	m, dir := newMachine(t), t.TempDir()
	from := debs(t)
	v := &virtual{
		t: t, image: filepath.Join(dir, "disk"), initramfs: filepath.Join(dir, "initramfs"),
		console: filepath.Join(dir, "console"), key: filepath.Join(dir, "key"),
	}
	kernels, _ := filepath.Glob(filepath.Join(from, "boot/vmlinuz-*"))
	if len(kernels) != 1 {
		t.Fatalf("%s has %d kernels", from, len(kernels))
	}
	v.kernel = kernels[0]
	version := strings.TrimPrefix(filepath.Base(v.kernel), "vmlinuz-")
	modules := filepath.Join(m.root, "lib/modules", version)
	command(t, "", "mkdir", "-p", filepath.Join(m.root, "lib/modules"), filepath.Join(m.root, "root/.ssh"), filepath.Join(m.root, "usr/local/sbin"))
	command(t, "", "cp", "-a", filepath.Join(from, "lib/modules", version), modules)
	command(t, "", "cp", filepath.Join(from, "bin/kmod"), filepath.Join(m.root, "usr/bin/kmod"))
	for _, name := range []string{"modprobe", "depmod", "lsmod", "insmod", "rmmod", "modinfo"} {
		command(t, "", "ln", "-sf", "../bin/kmod", filepath.Join(m.root, "usr/sbin", name))
	}
	if change != nil {
		change(m.root, modules)
	}
	command(t, "", "chroot", m.root, "/usr/sbin/depmod", version)

	build := exec.Command("go", "build", "-o", filepath.Join(m.root, program), "nftmigrate/cmd/migrate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	command(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", v.key)
	command(t, "", "cp", v.key+".pub", filepath.Join(m.root, "root/.ssh/authorized_keys"))
	command(t, "", "chmod", "600", filepath.Join(m.root, "root/.ssh/authorized_keys"))
	for path, text := range map[string]string{
		"etc/iptables/rules.v4":        virtualRules,
		"etc/ssh/sshd_config.d/t.conf": "PermitRootLogin prohibit-password\nUseDNS no\n",
		"etc/fstab":                    "/dev/vda / ext4 defaults 0 1\n",
	} {
		if err := os.WriteFile(filepath.Join(m.root, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	command(t, "", "mkfs.ext4", "-q", "-F", "-d", m.root, v.image, "1500M")
	v.makeInitramfs(filepath.Join(from, "lib/modules", version), filepath.Join(dir, "early"))
	t.Cleanup(v.cut)
	return v
}

func (v *virtual) makeInitramfs(modules, dir string) {
	v.t.Helper()
	command(v.t, "", "mkdir", "-p", filepath.Join(dir, "bin"))
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		v.t.Fatal(err)
	}
	command(v.t, "", "cp", "-L", busybox, filepath.Join(dir, "bin/busybox"))
	names := "init\nbin\nbin/busybox\n"
	for _, name := range initDrivers {
		found := strings.TrimSpace(command(v.t, "", "find", modules, "-name", name+".ko"))
		if found == "" { // built in
			continue
		}
		command(v.t, "", "cp", found, dir)
		names += name + ".ko\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "init"), fmt.Appendf(nil, initScript, strings.Join(initDrivers, " ")), 0o755); err != nil {
		v.t.Fatal(err)
	}
	archive, err := os.Create(v.initramfs)
	if err != nil {
		v.t.Fatal(err)
	}
	defer archive.Close()
	cpio := exec.Command("busybox", "cpio", "-o", "-H", "newc")
	cpio.Dir, cpio.Stdin, cpio.Stdout = dir, strings.NewReader(names), archive
	if err := cpio.Run(); err != nil {
		v.t.Fatalf("cpio: %v", err)
	}
}

// start starts it and waits until it answers over SSH.
func (v *virtual) start() {
	v.t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		v.t.Fatal(err)
	}
	v.port = free.Addr().(*net.TCPAddr).Port
	free.Close()
	v.qemu = exec.Command("qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-m", "1024", "-smp", "2",
		"-display", "none", "-no-reboot", "-serial", "file:"+v.console, "-device", "virtio-rng-pci",
		"-drive", "file="+v.image+",format=raw,if=virtio,cache=writeback",
		"-netdev", fmt.Sprintf("user,id=n,hostfwd=tcp:127.0.0.1:%d-:22", v.port), "-device", "virtio-net-pci,netdev=n",
		"-kernel", v.kernel, "-initrd", v.initramfs, "-append", "console=ttyS0 net.ifnames=0 rw quiet systemd.mask=serial-getty@ttyS0.service")
	v.qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	if err := v.qemu.Start(); err != nil {
		v.t.Fatal(err)
	}
	for {
		if out, code := v.ssh("systemctl is-system-running --wait"); code == 0 || strings.Contains(out, "degraded") {
			v.t.Logf("it was up after %.0f s", time.Since(began).Seconds())
			return
		}
		if time.Since(began) > patience {
			text, _ := os.ReadFile(v.console)
			v.t.Fatalf("the machine does not start:\n%s", tail(string(text)))
		}
		time.Sleep(time.Second)
	}
}

// cut takes the power away: what the machine did not write to its disk is lost.
func (v *virtual) cut() {
	if v.qemu == nil {
		return
	}
	_ = v.qemu.Process.Kill()
	_ = v.qemu.Wait()
	v.qemu = nil
}

// ssh runs a command over a new connection and returns what it says and its exit code.
func (v *virtual) ssh(line string) (string, int) {
	cmd := exec.Command("ssh", "-i", v.key, "-p", fmt.Sprint(v.port), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "LogLevel=ERROR", "-o", "ConnectTimeout=30", "-o", "BatchMode=yes", "root@127.0.0.1", line)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	_ = cmd.Run()
	return out.String(), cmd.ProcessState.ExitCode()
}

// must runs a command that has to exit with a code and to say something.
func (v *virtual) must(line string, code int, wants ...string) string {
	v.t.Helper()
	out, got := v.ssh(line)
	if got != code {
		v.t.Fatalf("%s: exit code %d, want %d\n%s", line, got, code, out)
	}
	for _, want := range wants {
		if !strings.Contains(out, want) {
			v.t.Fatalf("%s: it does not say %q\n%s", line, want, out)
		}
	}
	v.t.Logf("$ %s\n%s", line, out)
	return out
}

// result appends what a test found to the file of the results, under a heading.
func (v *virtual) result(heading string, lines ...string) {
	v.t.Helper()
	path := os.Getenv("MIGRATE_HOSTS_LOG")
	if path == "" || v.t.Failed() {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		v.t.Fatal(err)
	}
	defer f.Close()
	text := "\n## " + heading + "\n\n" + "In QEMU, Linux " + strings.TrimPrefix(filepath.Base(v.kernel), "vmlinuz-") + ".\n\n"
	for _, line := range lines {
		text += "- " + line + "\n"
	}
	if _, err := f.WriteString(text); err != nil {
		v.t.Fatal(err)
	}
}
