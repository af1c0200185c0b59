# Covey's everyday commands. `make` alone lists them.
# Everything is built with --workspace and in one profile, so that RocksDB is compiled once.

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
COVEY := $(TARGET_DIR)/debug/covey
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

# Looked up when a recipe runs, because `prerequisites` may just have installed ccache.
CCACHE = $(if $(shell command -v ccache),CC="ccache gcc" CXX="ccache g++")
CARGO = $(CCACHE) cargo
WORKSPACE := --workspace --locked

# The worlds of `make sim`.
SEEDS ?= 1000
FIRST ?= 1

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

.PHONY: demo
demo: build ## build Covey and run the flights example on three nodes of this machine
	@$(COVEY) demo

.PHONY: test
test: prerequisites ## run every test
	@deploy/prerequisites.sh --jepsen
	@$(CARGO) test $(WORKSPACE) --no-fail-fast

.PHONY: check
check: prerequisites ## check style, docs, licences and deploy files; writes nothing
	@cargo fmt --all --check
	@$(CARGO) clippy $(WORKSPACE) --all-targets -- -D warnings
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(WORKSPACE) --no-deps
	@$(CARGO) test $(WORKSPACE) --test tidy
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check licenses bans sources; fi
	@for script in .ci/run deploy/*.sh; do bash -n "$$script" || exit 1; done

.PHONY: fix
fix: prerequisites ## format, and apply what clippy can mend by itself
	@$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	@cargo fmt --all

.PHONY: bench
bench: ## run every benchmark in a release build; prints tables and writes bench-results/*.json
	@deploy/prerequisites.sh --bench
	@$(CARGO) build --release $(WORKSPACE)
	@$(TARGET_DIR)/release/covey bench --all --output-dir bench-results

# As root in network namespaces with every fault; otherwise on loopback with those that need neither, and it says so.
JEPSEN = $(TARGET_DIR)/debug/covey-jepsen
JEPSEN_DISK = $(if $(filter 0,$(shell id -u)),volatile,directory)
JEPSEN_OUTPUT = jepsen-results/$(shell date -u +%Y%m%dT%H%M%SZ)

.PHONY: jepsen
jepsen: build ## break a real cluster in every way for ten minutes, and check what clients were told
	@deploy/prerequisites.sh --jepsen
	@$(JEPSEN) run --seconds 600 --disk $(JEPSEN_DISK) --output $(JEPSEN_OUTPUT) --results jepsen-tests/results.json

.PHONY: jepsen-long
jepsen-long: build ## the same in runs of five minutes, each with a new seed, for HOURS=1 or more
	@deploy/prerequisites.sh --jepsen
	@$(JEPSEN) soak --hours $(or $(HOURS),1) --seconds 300 --disk $(JEPSEN_DISK) --output $(JEPSEN_OUTPUT) \
		--results jepsen-tests/results.json

.PHONY: jepsen-bugs
jepsen-bugs: prerequisites ## put each planted bug back into real nodes and tell how soon it is found
	@deploy/prerequisites.sh --jepsen
	@$(CARGO) build $(WORKSPACE) --features covey-node/planted-bugs
	@$(JEPSEN) bugs --seconds 40 --disk $(JEPSEN_DISK) --output $(JEPSEN_OUTPUT)

.PHONY: sim
sim: build ## run SEEDS simulated worlds from seed FIRST on, with faults, against every promise
	@$(TARGET_DIR)/debug/covey-sim many --first $(FIRST) --seeds $(SEEDS)

.PHONY: sim-bugs
sim-bugs: prerequisites ## put each planted bug back and tell how many seeds it takes to find it
	@$(CARGO) build $(WORKSPACE) --bin covey-sim --features covey-sim/planted-bugs
	@$(TARGET_DIR)/debug/covey-sim bugs --seeds $(SEEDS)

.PHONY: containers
containers: ## build the image and try three nodes, where docker or podman is there
	@deploy/try-containers.sh

.PHONY: build
build: prerequisites ## build covey, covey-jepsen and covey-sim
	@$(CARGO) build $(WORKSPACE)

.PHONY: prerequisites
prerequisites: ## install what the build needs (as root), or name it and stop
	@deploy/prerequisites.sh
