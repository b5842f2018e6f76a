# Only the program, about 20 MB: no shell, no libraries. See docs/containers.md. Works without BuildKit, so
# podman and buildah build it too.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# The program contains the C library. Naming the target leaves build scripts linked dynamically.
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
# A trial builds faster with `release`. Buildah does not inherit arguments from another stage.
ARG PROFILE=dist
# Cargo compares times, and these files may be older than the build.
COPY --from=manifests /build .
RUN find crates -type f -exec touch {} + \
    && cargo build --profile "$PROFILE" --features opentelemetry --locked --target "$(cat /target)" --package token-manager
COPY . .
RUN find crates -type f -exec touch {} + \
    && cargo build --profile "$PROFILE" --features opentelemetry --locked --target "$(cat /target)" --package token-manager \
    && strip --strip-debug -o /token-manager "target/$(cat /target)/$PROFILE/token-manager" \
    && mkdir /data

FROM scratch
LABEL org.opencontainers.image.title="TokenManager" \
      org.opencontainers.image.description="Exclusive, time-limited leases on a fixed pool of tokens, over HTTP" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# For PostgreSQL over TLS, and https.
COPY --from=program /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=program --chown=10001:10001 /data /data
COPY --from=program /token-manager /usr/local/bin/
# A number, so that orchestrators see that it is not root.
USER 10001:10001
# SQLite puts temporary files here too, since the image has no /tmp.
WORKDIR /data
# Other containers reach the server, and so do clients that reach a published port: it refuses to start
# without an API key (TOKEN_MANAGER_BOOTSTRAP_KEY_FILE makes the first) or TOKEN_MANAGER_ANONYMOUS.
ENV DATABASE_URL=sqlite:/data/token-manager.db \
    TOKEN_MANAGER_LISTEN=0.0.0.0:4000
EXPOSE 4000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/token-manager", "status"]
ENTRYPOINT ["/usr/local/bin/token-manager"]
CMD ["serve"]
