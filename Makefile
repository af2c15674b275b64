# A runner of scripts only: each target is one or two commands that also work
# without make.

GO ?= go
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: test tools unit kernel confirm fuzz golden lint bench build

test: tools ## install what is missing, then run all tests
	$(GO) vet ./...
	$(GO) test -p 1 -timeout 14m ./...

tools: ## install iptables, nft and ipset where they are missing
	@./.ci/tools

unit: ## the tests that need neither root nor tools
	CI= $(GO) test ./...

kernel: ## packets through namespaces, commits, rollback
	$(GO) test -p 1 ./equivalence/kernel/... ./apply/... ./internal/...

confirm: ## archives against iptables and nft
	$(GO) test ./extension ./nftgen ./iptables -run 'Confirm|Corpus'

fuzz: ## random rulesets and packets: simulators against the kernel
	$(GO) run ./internal/fuzz -packets 1000000 -seed 1

golden: ## rewrite the archives; read the diff
	$(GO) test ./extension -run TestArchives -update

bench:
	$(GO) test -run NONE -bench . ./iptables ./nftgen ./equivalence/...

lint:
	gofmt -l .
	$(GO) vet ./...

build:
	$(GO) build -o bin/migrate ./cmd/migrate
