# What there is to make: make help

GO      ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
TOOLBOX := $(GO) -C tools run ./toolbox --out ../bin

# The race detector needs cgo and a C compiler.
RACE := $(shell [ "$$($(GO) env CGO_ENABLED)" = 1 ] && command -v "$$($(GO) env CC)" >/dev/null && echo -race)

# All is compiled in one way but for the tests with the race detector: compiling what
# we depend on takes two cores some minutes each time.
STATIC := CGO_ENABLED=0 GOFLAGS='$(strip $(shell $(GO) env GOFLAGS) -trimpath)'

# What vet finds, the linter finds; with the tests it would read all that we depend on
# again, once for each way of compiling.
GOTEST := $(GO) test -vet=off

# Tests start real servers and clusters; more packages at a time than this only
# makes each of them slow.
PARALLEL ?= 2
TIMEOUT  ?= 45m

# One package, or one test of it: make test PACKAGES=./starter/... RUN=TestExitCodes
PACKAGES ?= ./...
RUN      ?=

.DEFAULT_GOAL := build
.PHONY: build programs toolbox demo test test-short test-tools lint vulnerabilities bench clean help

build: programs ## build the programs, and what runs beside them
	$(TOOLBOX) run

programs: # flotilla-node must run on any host, so all of them are static
	$(STATIC) $(GO) build -ldflags '$(LDFLAGS)' -o bin/ \
		./starter/flotilla ./workers/flotilla-worker ./node/flotilla-node

toolbox: ## build all that runs beside them in development and tests
	$(TOOLBOX) all

demo: build ## show it: a cluster is created, used, survives a killed worker, is taken down
	tools/demo.sh

# The tests of the whole start programs that are built without the race detector, kill
# things and wait for others to notice: they come last and without it. One package of them
# leaves two cores idle for almost half of its time. plan has one goroutine and nothing
# but computing.
WHOLE := /(plan|integration(/changes|/clouds|/bench)?)$$

test: programs test-tools ## all tests, with real Temporal, etcd and S3
	$(TOOLBOX) test
	@set -e; packages=$$($(GO) list $(PACKAGES)); \
	parts=$$(printf '%s\n' $$packages | grep -Ev '$(WHOLE)' || true); \
	whole=$$(printf '%s\n' $$packages | grep -E '$(WHOLE)' || true); \
	[ -z "$$parts" ] || $(GOTEST) $(RACE) -timeout $(TIMEOUT) -p $(PARALLEL) $(if $(RUN),-run '$(RUN)') $$parts; \
	[ -z "$$whole" ] || $(STATIC) $(GOTEST) -timeout $(TIMEOUT) -p $(PARALLEL) $(if $(RUN),-run '$(RUN)') $$whole

test-short: ## the tests that start nothing
	$(STATIC) $(GO) test -short -timeout 5m $(if $(RUN),-run '$(RUN)') $(PACKAGES)

test-tools: # with the toolbox's own flags, so that what it compiled is used again
	$(STATIC) $(GO) -C tools test ./...
	$(TOOLBOX) temporal-server
	$(STATIC) $(GO) -C tools/temporal test -vet=off -p 2 -timeout $(TIMEOUT) ./...

lint: ## the rules that are held by a linter, not by goodwill
	$(TOOLBOX) lint
	$(STATIC) "$$($(GO) -C tools run ./toolbox path lint)/golangci-lint" run --allow-parallel-runners ./...
	$(STATIC) "$$($(GO) -C tools run ./toolbox path lint)/workflowcheck" ./workflows/...
	@$(MAKE) --no-print-directory vulnerabilities

# govulncheck ends with 3 when it finds something, and with 1 when it could not look.
vulnerabilities:
	@$(STATIC) "$$($(GO) -C tools run ./toolbox path lint)/govulncheck" ./... || { code=$$?; \
		[ $$code -eq 3 ] && exit 1; echo "govulncheck: could not look (its database is not reachable); skipped"; }

bench: ## what creating clusters takes, beside a plain script, and what it costs
	@$(TOOLBOX) run
	$(STATIC) $(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m ./integration/bench

clean: ## remove what was built here; the toolbox's cache stays
	rm -rf bin

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
