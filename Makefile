# Everything a contributor or CI runs. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

GO ?= go
CONTROLLER_GEN = $(GO) run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.21.0
STATICCHECK = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.7.0
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS = -s -w -X main.version=$(VERSION)

# Everything but the race detector does without cgo: the binaries are static, and what
# the control plane shares with us is compiled once.
export CGO_ENABLED := 0

# A compiler that collects garbage less often is a sixth faster.
COMPILE = GOGC=400 $(GO)

# The control plane's modules are built apart, before tests that time out.
CONTROLPLANE = $(GO) run ./test/testkit/cluster/prebuild

.PHONY: help build test demo attacks bench lint generate check clean controlplane

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n",$$1,$$2}' $(MAKEFILE_LIST)

# Without cgo the binary is also a quarter smaller: with it, kustomize's import of
# package plugin has the linker keep every symbol.
build: ## Build the gitgate binary into bin/
	$(GO) build -ldflags '$(LDFLAGS)' -o bin/gitgate ./cmd/gitgate

controlplane: ## Build etcd, kube-apiserver and friends for tests (once)
	$(CONTROLPLANE)

# Tests that compute for long and alone: the race detector has nothing to find in them.
ALONE_PACKAGES = ./cmd/gitgate ./policies ./policy ./policy/report ./policy/schema ./reconcile/render ./test/bench/admission ./test/bench/policies
ALONE_TESTS = TestCostlyRule|TestFlood|TestFlowChangesNothing|TestHostileShapes|TestMemoChangesNothing|TestOddSeparator|TestPacksAlone|TestPartsEqualOneBuild|TestPodSecurityFixtures|TestPodSecurityOfAllVersions|TestPodSecurityOfCombinations|TestQuick|TestReadManifestsRefuses|TestRego|TestSARIFLimits|TestTheirRules|TestTooMuchWork

# Half of what live tests do is to wait, so there is room for one more package at a time.
TEST_PACKAGES_AT_ONCE ?= $(shell echo $$(( $$(nproc) + 1 )))

# What go list compiles go test finds compiled: the tests themselves collect as they please.
# A test binary without symbols is linked in half the time, and there are fifty.
# Lint vets all of it; go test would vet every dependency once more for the race detector.
test: controlplane ## Run every test with the race detector
	CGO_ENABLED=1 $(COMPILE) list -race -test -deps -export -f '' ./...
	CGO_ENABLED=1 $(GO) test -race -vet=off -ldflags=-s -timeout 30m -p $(TEST_PACKAGES_AT_ONCE) ./...
	$(GO) test -vet=off -ldflags=-s -timeout 30m -run '^($(ALONE_TESTS))$$' $(ALONE_PACKAGES)

demo: controlplane build ## Show the main job on an embedded control plane
	$(GO) run ./test/demo -gitgate bin/gitgate $(DEMO_FLAGS)

attacks: controlplane ## Run the rows of the threat catalogue and print a table
	$(GO) run ./test/attacks

bench: controlplane build ## Measure against peers and floors, as ratios
	$(GO) run ./test/bench -gitgate bin/gitgate $(BENCH_FLAGS)
	$(GO) run ./test/bench/admission -gitgate bin/gitgate $(ADMISSION_FLAGS)
	$(GO) run ./test/bench/precheck -gitgate bin/gitgate $(PRECHECK_FLAGS)
	$(GO) run ./test/bench/policies $(POLICIES_FLAGS)

generate: ## Generate deepcopy functions, CRDs and documents
	GOGC=400 $(CONTROLLER_GEN) object paths=./reconcile/api/... crd:maxDescLen=1000 output:crd:artifacts:config=deploy/crds
	$(GO) generate ./...

lint: ## Check formatting and run go vet and staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'run gofmt -w on these files'; exit 1; }
	$(COMPILE) vet ./...
	GOGC=400 $(STATICCHECK) ./...

check: generate lint test ## Run what CI runs; the tree must stay clean
	git diff --exit-code

clean: ## Remove what was built here
	rm -rf bin
