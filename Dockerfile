# The program alone, in about 20 MB: no shell, no library, no package. docs/containers.md tells how to
# use it. Nothing here needs BuildKit, so that podman and buildah build it as well.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# Without line tables, which would be most of it. A trial builds sooner with `off`, 16 and 1.
ARG CARGO_PROFILE_RELEASE_DEBUG=0
ARG CARGO_PROFILE_RELEASE_LTO=thin
ARG CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
ARG CARGO_PROFILE_RELEASE_OPT_LEVEL=3
# With the C library inside, nothing else is needed to run. Naming the target keeps that from what runs
# during the build.
RUN rustc -vV | sed -n 's/^host: //p' > /target
ENV RUSTFLAGS="-C target-feature=+crt-static"

# Dependencies with empty crates, so that they are built again only when a manifest changes.
FROM build AS manifests
COPY . .
RUN find crates -type f ! -name Cargo.toml ! -path '*/src/lib.rs' ! -path '*/src/main.rs' ! -name build.rs -delete \
    && find crates -name lib.rs -exec truncate -s 0 {} + \
    && for program in $(find crates -name main.rs -o -name build.rs); do echo 'fn main() {}' > "$program"; done \
    && find crates -type d -empty -delete \
    && find Cargo.* crates -exec touch -d @0 {} +

FROM build AS program
# Cargo goes by times, and files may be older than what was built.
COPY --from=manifests /build .
RUN find crates -type f -exec touch {} + \
    && cargo build --release --locked --target "$(cat /target)" --package token-manager
COPY . .
RUN find crates -type f -exec touch {} + \
    && cargo build --release --locked --target "$(cat /target)" --package token-manager \
    && strip --strip-debug -o /token-manager "target/$(cat /target)/release/token-manager" \
    && mkdir /data

FROM scratch
LABEL org.opencontainers.image.title="TokenManager" \
      org.opencontainers.image.description="Exclusive, time-limited leases on a fixed pool of tokens, over HTTP" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# For PostgreSQL over TLS, and whatever else is asked over https.
COPY --from=program /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=program --chown=10001:10001 /data /data
COPY --from=program /token-manager /usr/local/bin/
# By number, so that an orchestrator sees that it is not root.
USER 10001:10001
# Also where SQLite puts temporary files, since there is no /tmp.
WORKDIR /data
# Other containers reach the server, and so do clients that reach a published port: it refuses to start
# without TOKEN_MANAGER_ALLOW_REMOTE_WITHOUT_AUTH.
ENV DATABASE_URL=sqlite:/data/token-manager.db \
    TOKEN_MANAGER_LISTEN=0.0.0.0:4000
EXPOSE 4000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/token-manager", "status"]
ENTRYPOINT ["/usr/local/bin/token-manager"]
CMD ["serve"]
