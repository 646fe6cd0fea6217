# Everything a newcomer needs. Each target does its own set-up; the first run builds a Kubernetes
# control plane from its Go modules (about 6 minutes on 2 cores) and keeps it outside of the checkout.

CARGO_DENY := 0.20.2

# Where cargo builds to, and where tools are kept from one checkout to the next.
BIN := $(or $(CARGO_TARGET_DIR),target)/debug
CARGO_DENY_ROOT := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/belay/cargo-deny-$(CARGO_DENY)

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
ARCH = $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,amd64)
PACKAGE = kubectl-belay-v$(VERSION)-linux-$(ARCH).tar.gz

.DEFAULT_GOAL := help
.PHONY: help demo test check bench fmt generate package licences build tools needs

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

demo: tools ## Show an upgrade hang on a PodDisruptionBudget, and abort it (KEEP=1: then stay up)
	@$(BIN)/examples/demo

test: tools ## Run all tests, on a real control plane
	cargo test --workspace --no-fail-fast

check: needs ## Check format, lints, generated files and licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@$(MAKE) --no-print-directory build
	@for what in crds policies; do \
	  new=$$(mktemp -d) && $(BIN)/belay $$what --output $$new && diff -r $$what $$new; same=$$?; rm -r $$new; \
	  test $$same = 0 || { echo "$$what/ differs from src: run make generate, and commit it"; exit 1; }; \
	done
	@$(BIN)/kubectl-belay reference | diff docs/kubectl-belay.md - || \
	  { echo "docs/kubectl-belay.md differs from src/cli: run make generate, and commit it"; exit 1; }
	@$(MAKE) --no-print-directory licences

bench: tools ## Measure an abort beside the least that it could take
	cargo bench --bench abort

fmt: ## Format the code
	cargo fmt --all

generate: build ## Generate crds/, policies/, docs/states.md and docs/kubectl-belay.md from src/
	$(BIN)/belay crds --output crds
	$(BIN)/belay policies --output policies
	$(BIN)/kubectl-belay reference > docs/kubectl-belay.md
	BELAY_GENERATE=1 cargo test --quiet --test docs

package: needs ## Package the kubectl plugin and its krew manifest into dist/ (URL= and HOMEPAGE= of the release)
	cargo build --release --bin kubectl-belay
	@mkdir -p dist && tar -czf dist/$(PACKAGE) -C $(BIN)/../release kubectl-belay -C $(CURDIR) LICENSE
	@sha=$$(sha256sum dist/$(PACKAGE) | cut -d' ' -f1) && sed -e 's|{{VERSION}}|$(VERSION)|; s|{{ARCH}}|$(ARCH)|' \
	  -e "s|{{SHA256}}|$$sha|; s|{{URL}}|$(or $(URL),file://$(CURDIR)/dist/$(PACKAGE))|" \
	  -e 's|{{HOMEPAGE}}|$(or $(HOMEPAGE),https://belay.dev)|' packaging/krew.yaml > dist/belay.yaml
	@echo "To try it: kubectl krew install --manifest=dist/belay.yaml --archive=dist/$(PACKAGE)"

licences: ## Check the dependencies' licences, versions and sources (deny.toml)
	@test -x $(CARGO_DENY_ROOT)/bin/cargo-deny || \
	  cargo install --quiet --locked --debug --root $(CARGO_DENY_ROOT) --version $(CARGO_DENY) cargo-deny
	$(CARGO_DENY_ROOT)/bin/cargo-deny --locked check licenses bans sources

# The operator, the demo and testenv by one build: each alone would have other features of the
# dependencies, and compile them again.
build: needs
	cargo build --workspace --bins --examples

# The control plane's binaries, where they aren't built yet.
tools: build
	@$(BIN)/testenv build >/dev/null

needs:
	@command -v cargo >/dev/null || { echo "cargo is needed: install Rust by rustup, https://rustup.rs"; exit 1; }
	@command -v cc >/dev/null || { echo "A C compiler is needed: install gcc or clang (Debian: apt-get install build-essential)"; exit 1; }
	@command -v go >/dev/null || { echo "Go 1.26 or newer is needed: https://go.dev/doc/install"; exit 1; }
