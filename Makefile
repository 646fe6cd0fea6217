# Everything a newcomer needs. Each target does its own set-up; the first run builds a Kubernetes
# control plane from its Go modules (about 6 minutes on 2 cores) and keeps it outside of the checkout.

.DEFAULT_GOAL := help
.PHONY: help demo test check fmt generate tools

help: ## Show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: tools ## Show an upgrade hang on a PodDisruptionBudget, and abort it (KEEP=1 keeps it running)
	@cargo build --quiet --bin belay
	@cargo run --quiet --example demo

test: tools ## Run all tests, on a real control plane
	cargo test --workspace --no-fail-fast

check: ## Format, lints, and generated files up to date
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(MAKE) generate
	git diff --exit-code -- crds || (echo "crds/ was not up to date: run make generate and commit it" && false)

fmt: ## Format the code
	cargo fmt --all

generate: ## Generate crds/ from src/api
	cargo run --quiet --bin belay -- crds --output crds

tools: ## Build the control plane, where it isn't built yet
	@for tool in cargo cc; do command -v $$tool >/dev/null || { \
	  echo "$$tool is needed: install Rust from rustup, and a C compiler (Debian: apt-get install build-essential)"; exit 1; }; done
	@test -n "$$KUBEBUILDER_ASSETS" || command -v go >/dev/null || { \
	  echo "Go 1.26 or newer is needed, or set KUBEBUILDER_ASSETS"; exit 1; }
	@cargo run --quiet -p testenv -- build >/dev/null
