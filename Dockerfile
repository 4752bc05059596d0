# syntax=docker/dockerfile:1
# docker build -t sluis .
# docker run --read-only -p 8080:8080 -p 8443:8443 -p 9181:9181 -v ./config:/etc/sluis:ro sluis

FROM rust:1-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY config config
COPY benches benches
ARG SLUIS_REVISION=unknown
RUN SLUIS_REVISION=$SLUIS_REVISION cargo build --release --locked --bin sluis

# glibc and CA roots, no shell, user 65532
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/sluis /usr/bin/sluis
USER 65532:65532
# Nothing is written but state_directory, where one is configured: mount a volume there.
WORKDIR /etc/sluis
EXPOSE 8080 8443 9180 9181
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=2s --start-period=10s CMD ["/usr/bin/sluis", "healthcheck", "--config", "/etc/sluis/sluis.toml"]
ENTRYPOINT ["/usr/bin/sluis"]
CMD ["serve", "--config", "/etc/sluis/sluis.toml"]
