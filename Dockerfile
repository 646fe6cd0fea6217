# The operator's image: one static program, and nothing else.
#   make image
FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
# The dependencies first, with nothing of Belay in them: they are compiled again only where they change.
COPY Cargo.toml Cargo.lock ./
COPY testenv/Cargo.toml testenv/
RUN mkdir src src/bin testenv/src \
 && echo 'fn main() {}' | tee src/main.rs src/bin/kubectl-belay.rs >testenv/src/main.rs \
 && touch src/lib.rs testenv/src/lib.rs \
 && RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --locked --release --bin belay --target "$(rustc --print host-tuple)"
COPY src src
RUN touch src/lib.rs src/main.rs \
 && RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --locked --release --bin belay --target "$(rustc --print host-tuple)" \
 && mkdir /image && cp target/*/release/belay /image/

FROM scratch
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="Belay" \
      org.opencontainers.image.description="Abortable operations for fleets of Kubernetes clusters" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /image/belay /belay
# The authorities of the web, for the clouds.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
# By number, so that a kubelet can tell that it isn't root.
USER 65532:65532
ENTRYPOINT ["/belay"]
