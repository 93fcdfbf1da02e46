# The gate alone; MySQL runs elsewhere. The configuration is mounted (see docker-compose.yml).
FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends protobuf-compiler libprotobuf-dev
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin shardgate

FROM debian:bookworm-slim
RUN useradd --system --no-create-home --shell /usr/sbin/nologin shardgate
COPY --from=build /src/target/release/shardgate /usr/local/bin/shardgate
USER shardgate
EXPOSE 15306 16000
ENTRYPOINT ["shardgate"]
CMD ["serve", "--config", "/etc/shardgate/gate.toml"]
