# Everything a newcomer needs. Each target does its own set-up; the first run builds a Kubernetes
# control plane from its Go modules (about 6 minutes on 2 cores) and keeps it outside of the checkout.

CARGO_DENY := 0.20.2
CARGO_CYCLONEDX := 0.5.9

# The oldest Kubernetes that Belay works on: testenv/tools has its go.mod.
OLDEST := 1.33

# Where cargo builds to, and where tools are kept from one checkout to the next.
TARGET := $(or $(CARGO_TARGET_DIR),target)
BIN := $(TARGET)/debug
CARGO_CYCLONEDX_ROOT := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/belay/cargo-cyclonedx-$(CARGO_CYCLONEDX)
CARGO_DENY_ROOT := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/belay/cargo-deny-$(CARGO_DENY)

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
ARCH = $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,amd64)
PACKAGE = kubectl-belay-v$(VERSION)-linux-$(ARCH).tar.gz

# The image, as an archive, what its program is built for, and the arguments of both ways to build it.
IMAGE = belay:$(VERSION)
IMAGE_ARCHIVE := target/image/belay.tar
STATIC_TARGET = $(shell rustc --print host-tuple)
IMAGE_ARGS = --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD)

# The time of files in archives and of the image: that of the commit, so that a second build makes the same.
EPOCH = $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct))

# What make generate makes.
GENERATED := crds policies charts/belay/files/crds charts/belay/files/policies \
  charts/belay/files/large-namespaces charts/belay/files/kwok \
  charts/belay/README.md deploy/belay.yaml docs/kubectl-belay.md

.DEFAULT_GOAL := help
.PHONY: help demo picture test test-oldest check bench load load-capi fmt generate generated model mutants package release workflows sbom licences build tools needs image image-here chart e2e gitops outages sweep soak histories test-capi sweep-capi clouds smoke-aks smoke-eks

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

demo: tools ## Show an upgrade that a PodDisruptionBudget blocks, and abort it (KEEP=1 keeps it running; PROVIDER=cluster-api, azure or aws)
	@$(BIN)/examples/demo

picture: tools ## Record the demo on a pseudo-terminal as docs/demo.svg
	@$(BIN)/examples/picture >$(BIN)/demo.svg && mv $(BIN)/demo.svg docs/demo.svg && ls -l docs/demo.svg

test: tools ## Run all tests, on a real control plane
	@for name in helm prometheus promtool; do $(BIN)/testenv path $$name >/dev/null || exit 1; done
	cargo test --workspace --no-fail-fast

# Without FILTER: what the API server refuses by itself, where versions differ most.
test-oldest: build ## Run live tests on the oldest Kubernetes that Belay supports (FILTER= selects them by a part of their names)
	TESTENV_KUBERNETES=$(OLDEST) cargo test --workspace --test live -- $(or $(FILTER),refusals)

check: needs ## Check format, lints, generated files, workflows and licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --workspace --test e2e --test flux --test argocd --test sweep --test soak --test outages --test capi --test capi-faults --test cluster_api -- -D warnings
	@$(MAKE) --no-print-directory build
	@$(MAKE) --no-print-directory chart
	@$(MAKE) --no-print-directory workflows
	@$(MAKE) --no-print-directory licences

# PART=k/n runs every n-th run from the k-th on; ONLY= scenarios, KINDS= disturbances (comma-separated).
sweep: tools ## Disturb each scenario at each of its requests (crashes, refusals, old caches); takes hours (PART=k/n runs a part)
	SWEEP_PART=$(or $(PART),1/1) SWEEP_ONLY="$(ONLY)" SWEEP_KINDS="$(KINDS)" cargo test --profile $(or $(PROFILE),dev) --test sweep

histories: ## Test the core with random histories (CASES= for each property; SEED= repeats a run)
	@seed=$(or $(SEED),$$(date +%s)) && echo "SEED=$$seed" && PROPTEST_RNG_SEED=$$seed \
		PROPTEST_CASES=$(or $(CASES),20000) cargo test --profile optimized --lib properties::

test-capi: tools ## Test clusters of Cluster API, with its own controllers and machines in memory
	cargo test --test capi

sweep-capi: tools ## Kill Belay after each of its writes, and Cluster API's controllers, in an upgrade of Cluster API and its abort (PART=k/n)
	SWEEP_PART=$(or $(PART),1/1) cargo test --test capi-faults

# Needs python3 with venv. What it installs is kept outside the checkout.
clouds: tools ## Check the fakes of the clouds with the clouds' own command lines, and Belay's requests against the clouds' models
	@python3 -c 'import ensurepip' || { echo "make clouds needs the Debian package python3-venv" >&2; exit 1; }
	rm -rf target/exchanges && mkdir -p target/exchanges
	CLOUDS=$$(testenv/clouds/install) cargo test -p testenv --test clouds
	EXCHANGES=$(CURDIR)/target/exchanges cargo test --test live -- eks:: --include-ignored
	EXCHANGES=$(CURDIR)/target/exchanges cargo test --test live -- aks:: --include-ignored
	$$(testenv/clouds/install)/aws/bin/python3 testenv/clouds/check_eks.py target/exchanges/eks-*.jsonl
	$$(testenv/clouds/install)/sdk/bin/python3 testenv/clouds/check_aks.py target/exchanges/aks-*.jsonl

smoke-aks: tools ## Try Belay on an AKS cluster of a real account: CLUSTER= POOL= RESOURCE_GROUP= (docs/azure.md)
	@examples/smoke.sh azure $(BIN)

smoke-eks: tools ## Try Belay on an EKS cluster of a real account: CLUSTER= POOL= (docs/aws.md)
	@examples/smoke.sh aws $(BIN)

# SEED= is the first episode's, and each has the next one; EPISODES= says how many there are at most.
soak: tools ## Simulate random users and random faults for MINUTES=n, starting with SEED=s
	SOAK_MINUTES=$(MINUTES) SOAK_SEED=$(SEED) SOAK_EPISODES=$(EPISODES) cargo test --profile $(or $(PROFILE),dev) --test soak

# In parts: SHARD=3/40. Each mutant is compiled and tested, so all of them take hours.
mutants: needs ## Test mutations of the core (SHARD=k/n runs a part); not in CI
	@command -v cargo-mutants >/dev/null || cargo install --quiet --locked --debug cargo-mutants
	PROPTEST_CASES=$(or $(CASES),300) cargo mutants --package belay --file 'src/lifecycle/**' --exclude 'src/lifecycle/fixtures*' \
	  --exclude 'src/lifecycle/*tests*' --exclude 'src/lifecycle/properties/**' --shard $(or $(SHARD),1/40) --timeout 300 \
	  --output target/mutants -- --lib lifecycle

model: needs ## Check the model of the core with more events and crashes; not in CI
	BELAY_MODEL=deep cargo test --lib lifecycle::model -- --include-ignored --nocapture

# ROWS= of abort, storm, requests, apply, start, upgrade, steady, growth, writes. SIZES= are the numbers of clusters of growth.
bench: tools ## Measure Belay, and compare it with lower bounds and other operators (ROWS=abort,storm; SMALL=1, CLUSTERS=1000, SIZES=10,100; FSYNC=1)
	ROWS=$(ROWS) SMALL=$(SMALL) CLUSTERS=$(CLUSTERS) SIZES=$(SIZES) FSYNC=$(FSYNC) cargo bench --bench table

load: tools ## Load test: a fleet (CLUSTERS=1000 POOLS=5), OPERATIONS=200 in flight, an abort each second, a tenth of requests failing
	CLUSTERS=$(CLUSTERS) POOLS=$(POOLS) OPERATIONS=$(OPERATIONS) cargo bench --profile optimized --bench load

load-capi: tools ## Load test: a fleet of Cluster API (CLUSTERS=100) upgraded at once, ABORTS=20 of the upgrades aborted
	CLUSTERS=$(CLUSTERS) ABORTS=$(ABORTS) cargo bench --profile optimized --bench cluster_api

fmt: ## Format the code
	cargo fmt --all

generate: build ## Generate crds/, policies/, docs/ and test data of tests/gitops from src/; then the chart's files and deploy/
	@rm -rf $(GENERATED)
	@$(MAKE) --no-print-directory generated INTO=.
	BELAY_GENERATE=1 cargo test --quiet --test docs
	BELAY_GENERATE=1 cargo test --quiet --lib moments
	BELAY_GENERATE=1 cargo test --quiet --lib lifecycle::model

generated:
	@mkdir -p $(addprefix $(INTO)/,crds policies docs deploy charts/belay/files/crds charts/belay/files/policies charts/belay/files/large-namespaces charts/belay/files/kwok)
	@$(BIN)/belay crds --output $(INTO)/crds
	@$(BIN)/belay policies --output $(INTO)/policies
	@$(BIN)/belay policies --large-namespaces --output $(INTO)/charts/belay/files/large-namespaces
	@$(BIN)/kubectl-belay reference >$(INTO)/docs/kubectl-belay.md
	@cp $(INTO)/crds/* $(INTO)/charts/belay/files/crds/
	@cp $(INTO)/policies/* $(INTO)/charts/belay/files/policies/
	@$(BIN)/testenv stages >$(INTO)/charts/belay/files/kwok/stages.yaml
	@charts/readme <charts/belay/values.yaml >$(INTO)/charts/belay/README.md
	@charts/manifests $$($(BIN)/testenv path helm) >$(INTO)/deploy/belay.yaml

chart: build ## Check the chart: generated files are up to date, lint, schema, and each combination of values that matters
	@new=$$(mktemp -d) && $(MAKE) --no-print-directory generated INTO=$$new && same=0 && \
	  for what in $(GENERATED); do diff -r $$what $$new/$$what || same=1; done; rm -r $$new; \
	  test $$same = 0 || { echo "the generated files are not up to date: run make generate, and commit the result"; exit 1; }
	@charts/check $$($(BIN)/testenv path helm) $$($(BIN)/testenv path kube-score)

package: needs ## Package the kubectl plugin and its krew manifest into dist/ (URL= and HOMEPAGE= of the release)
	cargo build --release --bin kubectl-belay
	@mkdir -p dist && tar --create --owner=0 --group=0 --numeric-owner --mode=a+rX,u+w,go-w --mtime=@$(EPOCH) \
	  -C $(TARGET)/release kubectl-belay -C $(CURDIR) LICENSE | gzip --no-name >dist/$(PACKAGE)
	@sha=$$(sha256sum dist/$(PACKAGE) | cut -d' ' -f1) && sed -e 's|{{VERSION}}|$(VERSION)|; s|{{ARCH}}|$(ARCH)|' \
	  -e "s|{{SHA256}}|$$sha|; s|{{URL}}|$(or $(URL),file://$(CURDIR)/dist/$(PACKAGE))|" \
	  -e 's|{{HOMEPAGE}}|$(or $(HOMEPAGE),https://belay.dev)|' packaging/krew.yaml >dist/krew.yaml
	@echo "To try it: kubectl krew install --manifest=dist/krew.yaml --archive=dist/$(PACKAGE)"

# REPOSITORY= says where the image will be pulled from, DOWNLOADS= where dist/ will be downloaded from, HOMEPAGE= whose it is.
release: needs ## Build all files of a release into dist/ (VERSION=x.y.z; REPOSITORY= DOWNLOADS= HOMEPAGE=)
	@VERSION=$(if $(findstring command,$(origin VERSION)),$(VERSION)) packaging/release

workflows: build ## Check the workflows of .github/ with actionlint
	@$$($(BIN)/testenv path actionlint) -no-color -shellcheck= -pyflakes= && echo ".github/workflows: no problems found"

# It writes beside each Cargo.toml, and only so.
sbom: needs ## Write the components of the image's program to dist/belay.cdx.json (CycloneDX)
	@test -x $(CARGO_CYCLONEDX_ROOT)/bin/cargo-cyclonedx || \
	  cargo install --quiet --locked --debug --root $(CARGO_CYCLONEDX_ROOT) --version $(CARGO_CYCLONEDX) cargo-cyclonedx
	@mkdir -p dist
	@PATH=$(CARGO_CYCLONEDX_ROOT)/bin:$$PATH cargo cyclonedx --quiet --format json --describe binaries --no-build-deps --spec-version 1.5
	@mv belay_bin.cdx.json dist/belay.cdx.json; find . -name '*.cdx.json' -not -path './dist/*' -not -path './target/*' -delete
	@echo "dist/belay.cdx.json: $$(grep -c '"purl"' dist/belay.cdx.json) components"

licences: ## Check the dependencies' licences, versions and sources (deny.toml)
	@test -x $(CARGO_DENY_ROOT)/bin/cargo-deny || \
	  cargo install --quiet --locked --debug --root $(CARGO_DENY_ROOT) --version $(CARGO_DENY) cargo-deny
	$(CARGO_DENY_ROOT)/bin/cargo-deny --locked check licenses bans sources

image: ## Build the operator's image with docker, or with buildah from a program that is built here
	@mkdir -p $(dir $(IMAGE_ARCHIVE))
	@if docker info >/dev/null 2>&1; then \
	  docker build $(IMAGE_ARGS) --tag $(IMAGE) . && docker save --output $(IMAGE_ARCHIVE) $(IMAGE); \
	elif command -v buildah >/dev/null; then $(MAKE) --no-print-directory image-here; \
	else echo "docker (with its daemon running) or buildah is needed (Debian: apt-get install buildah)"; exit 1; fi

AUTHORITIES := /etc/ssl/certs/ca-certificates.crt

# Where buildah puts the image: a release wants it as an OCI layout.
IMAGE_TO = docker-archive:$(IMAGE_ARCHIVE):$(IMAGE)

# The folder stands for the Dockerfile's stage "build", whose base image is then not pulled.
image-here:
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --bin belay --target $(STATIC_TARGET)
	@test -f $(AUTHORITIES) || { echo "$(AUTHORITIES) is needed (Debian: apt-get install ca-certificates)"; exit 1; }
	@mkdir -p target/image/build/image target/image/build$(dir $(AUTHORITIES))
	@cp $(TARGET)/$(STATIC_TARGET)/release/belay target/image/build/image/ && cp -L $(AUTHORITIES) target/image/build$(AUTHORITIES)
	@buildah bud --isolation chroot --storage-driver vfs --build-context build=target/image/build \
	  $(IMAGE_ARGS) --timestamp $(EPOCH) --tag $(IMAGE) . >target/image/log 2>&1 || { cat target/image/log; exit 1; }
	@rm -f $(IMAGE_ARCHIVE)
	@buildah push --storage-driver vfs --quiet --digestfile target/image/digest $(IMAGE) $(IMAGE_TO)
	@echo "$(IMAGE): $$(du -h target/image/build/image/belay | cut -f 1), in $(word 2,$(subst :, ,$(IMAGE_TO)))"

e2e: build image ## Install the image with Helm on a real node, and run the demo's story there (needs root)
	BELAY_IMAGE=$(abspath $(IMAGE_ARCHIVE)) cargo test --workspace --test e2e

gitops: needs ## Test Belay with Flux's and Argo CD's controllers, and kstatus (the first run builds them: 20 minutes)
	@command -v git >/dev/null || { echo "git is needed (Debian: apt-get install git)"; exit 1; }
	cd tests/gitops && go vet ./... && go test ./...
	cargo test --workspace --test flux --test argocd

outages: tools ## Kill and cut off parts of the control plane, and of clouds, while the operator runs
	@$(BIN)/testenv path helm >/dev/null
	cargo test --workspace --test outages
	cargo test --workspace --test live -- --ignored

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
