# Names for commands. The code needs none of it: go build ./cmd/... and go test ./... do on their own.
# `make` lists what there is.

GO      ?= $(shell command -v go || echo /usr/local/go/bin/go)
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)

TOOL     = $(GO) tool -modfile=tools/go.mod
LDFLAGS  = -s -w -X main.commit=$(VERSION)
GOBUILD  = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'
# The programs that people wait for start at an entry of their own, with their heap in one large page: internal/entry.
HOTBUILD = GOEXPERIMENT=norandomizedheapbase64 CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS) -E vitro/internal/entry.entry'
FUZZTIME ?= 5s

# The packages whose tests say something about the kernel, for make test-vm.
VM_TESTS ?= plan plan/run host cgroup cgroup/systemd network rootfs seccomp image image/layer spec container monitor engine \
            cmd/vitro-oci cmd/vitro burn lab test/e2e

export GO
export CGO_ENABLED := 0

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 14

.PHONY: build
build: ## the three programs, static, in bin/
	$(HOTBUILD) -o bin/ ./cmd/vitro ./cmd/vitro-oci
	$(GOBUILD) -o bin/ ./cmd/vitro-net

.PHONY: man
man: ## the manual pages, of what the programs' help says, in bin/man/
	@rm -rf bin/man; mkdir -p bin/man
	@$(GO) test ./cmd/vitro ./cmd/vitro-oci ./cmd/vitro-net -count=1 -run '^TestManPages?$$' -man $(CURDIR)/bin/man \
	  -date $$(git log -1 --format=%cs 2>/dev/null || date +%F)

.PHONY: setup
setup: ## install what tests and bench need (Debian, Ubuntu; as root or with sudo)
	@test/setup demo test bench

.PHONY: demo
demo: ## a first container, as root or as an ordinary user
	@test/setup demo
	@$(MAKE) -s build
	bin/vitro run --rm busybox sh -c 'id; hostname; ps; mount | head -n 12'

.PHONY: test
test: ## lint, and all tests, as root and as an ordinary user
	@test/setup test
	@status=0; $(MAKE) -s lint || status=1; $(MAKE) -s build || status=1; VITRO_BIN=$(CURDIR)/bin test/run || status=1; exit $$status

.PHONY: test-vm
test-vm: ## the tests of VM_TESTS in a virtual machine with pure cgroup v2, as root and as an ordinary user
	@test/setup test
	@$(MAKE) -s build
	@test/vm/test $(VM_TESTS)

.PHONY: test-oci
test-oci: ## the OCI's conformance suite: vitro-oci beside runc and crun; TESTFLAGS: -short, -update, -v
	@test/setup test
	@$(MAKE) -s build
	@$(GO) build -o bin/test-oci ./test/oci
	@bin/test-oci -go $(GO) $(TESTFLAGS)

.PHONY: test-suites
test-suites: ## runc's, crun's and CRI's own suites: vitro-oci beside each; TESTFLAGS: -run NAME, -user NAME, -v, runc, crun, cri
	@test/setup suites
	@$(MAKE) -s build
	@$(GO) build -o bin/test-suites ./test/suites
	@bin/test-suites $(TESTFLAGS)

.PHONY: test-engines
test-engines: ## vitro-oci as the runtime of Podman, dockerd, containerd; vitro beside docker; TESTFLAGS: -short, -run NAME, …
	@test/setup engines
	@$(MAKE) -s build
	@$(GO) build -o bin/report ./test/report
	@$(GO) test ./test/engines -v -count=1 -timeout 20m -engines $(TESTFLAGS) >bin/engines.out 2>&1; \
	  bin/report <bin/engines.out && bin/report bin/engines.out

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, known vulnerabilities
	@echo gofmt; out=$$($(GO)fmt -l $$(find . -name '*.go' -not -path './.git/*')); test -z "$$out" || { echo "$$out"; exit 1; }
	$(GO) vet ./...
	GOARCH=arm64 $(GO) vet ./...
	$(TOOL) staticcheck ./...
	@echo govulncheck; out=$$($(TOOL) govulncheck ./... 2>&1) && echo "$$out" | tail -n 1 || case $$out in \
	  *"fetching vulnerabilities"*) echo "govulncheck: NOT CHECKED: its database cannot be reached" ;; \
	  *) echo "$$out"; exit 1 ;; esac

.PHONY: deadcode
deadcode: ## functions that no program reaches
	$(TOOL) deadcode ./cmd/...

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME
	@test/fuzz $(FUZZTIME)

.PHONY: bench
bench: ## vitro beside its peers, as a table on stdout and in bench/last.md
	@test/setup bench
	@$(MAKE) -s build
	$(GO) build -o bin/bench ./bench
	bin/bench -o bench/last.md
	$(GO) build -o bin/bench-names ./bench/names
	@test "$$(id -u)" != 0 || bin/bench-names | tee -a bench/last.md
	CGO_ENABLED=0 $(GO) build -o bin/bench-requests ./bench/requests
	@test "$$(id -u)" != 0 || bin/bench-requests | tee -a bench/last.md
	$(GO) build -o bin/bench-uplink ./bench/uplink
	@test "$$(id -u)" != 0 || bin/bench-uplink | tee -a bench/last.md

.PHONY: cross
cross: ## build and vet for arm64
	GOARCH=arm64 $(HOTBUILD) -o bin/arm64/ ./cmd/vitro ./cmd/vitro-oci
	GOARCH=arm64 $(GOBUILD) -o bin/arm64/ ./cmd/vitro-net
	GOARCH=arm64 $(GO) vet ./...

.PHONY: install
install: build man ## into PREFIX (/usr/local)
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin bin/vitro bin/vitro-oci bin/vitro-net
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 bin/man/*.1
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man8 bin/man/*.8
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's,/usr/local/bin,$(PREFIX)/bin,' dist/vitro-boot.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/vitro-boot.service
	mkdir -p $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	bin/vitro completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/vitro
	bin/vitro completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_vitro
	bin/vitro completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/vitro.fish

.PHONY: clean
clean: ## remove what make made
	rm -rf bin bench/last.md
