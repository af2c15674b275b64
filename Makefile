# A runner of scripts only: each target is one or two commands that also work
# without make. CONTRIBUTING.md says what each level of tests is for.

GO ?= go
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: test tools unit kernel confirm fuzz golden lint bench build test-hosts

test: tools ## install what is missing, then run all tests
	$(GO) vet ./...
	$(GO) test -p 1 -timeout 14m ./...

tools: ## install iptables, nft, ipset and strace where they are missing
	@./.ci/tools

unit: ## all tests; those that lack a right or a tool are skipped
	CI= $(GO) test ./...

kernel: ## packets through namespaces, commits, faults, restore
	$(GO) test -p 1 ./equivalence/... ./apply/... ./internal/...
	$(GO) test ./extension -run 'Deviations|Timed|Connbytes'

test-hosts: ## what a boot makes of changes on disk, in a Debian that is rebooted and cut off (systemd-nspawn, QEMU)
	MIGRATE_HOSTS=$${MIGRATE_HOSTS:-$${XDG_CACHE_HOME:-$$HOME/.cache}/nftmigrate/hosts} MIGRATE_HOSTS_LOG=$(CURDIR)/docs/test-hosts.md \
		MIGRATE_INCIDENT_LOG=$(CURDIR)/examples/incident/transcript.txt \
		$(GO) test -count=1 -v -timeout 60m ./internal/hosttest

confirm: ## archives and texts against iptables and nft
	$(GO) test ./extension ./nftgen ./iptables -run 'Confirm|Corpus|IsBatch|Chains|InNft'

fuzz: ## random rulesets and packets: simulators against the kernel
	$(GO) run ./internal/fuzz -packets 1000000 -seed 1

golden: ## rewrite what tests compare with; read the diff
	$(GO) test ./extension ./translate -run 'TestArchives|TestDocument' -update
	$(GO) test ./nftgen -run 'TestRules|TestPrint' -update
	$(GO) test ./cmd/migrate -run TestReadme -update
	$(GO) test ./examples -run TestWalkthroughs -update

bench: ## the benchmarks of all packages
	$(GO) test -run NONE -bench . ./iptables ./nftgen ./equivalence/...

lint: ## files that gofmt would change, and what vet says
	gofmt -l .
	$(GO) vet ./...

build: ## bin/migrate
	$(GO) build -o bin/migrate ./cmd/migrate
