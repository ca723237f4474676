# One image for the nodes and the client. Nothing here needs a network once the two base images are there, and
# nothing needs BuildKit.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /raft-lab
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY client client
RUN cargo build --release --locked --offline

FROM debian:bookworm-slim
# A fresh named volume takes the owner of the folder that it covers, so the folder is made here, for the user of below.
RUN useradd --system --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin raft \
 && install -d -o raft -g raft -m 750 /data
COPY --from=build /raft-lab/target/release/node /raft-lab/target/release/client /usr/local/bin/
USER raft
ENV DATA_DIR=/data
EXPOSE 1234
# Does this node answer? It asks no other node, and the node logs nothing about it.
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s --retries=3 \
  CMD ["client", "--cluster", "127.0.0.1:1234", "--timeout", "2", "status"]
CMD ["node"]
