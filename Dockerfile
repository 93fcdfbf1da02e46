# The gate alone; MySQL runs elsewhere. The configuration is mounted (see docker-compose.yml).
#
# The same sources give the same program: the compiler, Cargo.lock and the base images are pinned (put digests
# in their place where tags are not enough), and no path or time of the build is in it.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends protobuf-compiler libprotobuf-dev
WORKDIR /src
COPY . .
ENV CARGO_INCREMENTAL=0 RUSTFLAGS="--remap-path-prefix=/src=. --remap-path-prefix=/usr/local/cargo=cargo" SOURCE_DATE_EPOCH=0
RUN cargo build --release --locked --bin shardgate && strip target/release/shardgate

FROM debian:bookworm-slim
COPY --from=build /src/target/release/shardgate /usr/local/bin/shardgate
# No name and no home: a number is enough, and orchestrators can see that it is not root.
USER 10001:10001
EXPOSE 15306 16000
STOPSIGNAL SIGTERM
ENTRYPOINT ["shardgate"]
CMD ["serve", "--config", "/etc/shardgate/gate.toml"]
