# The things that one does here. Each says in one line what it installs, if anything.

SHELL := /bin/bash

.PHONY: dev test chaos soak suites bench fmt lint

# The sample cluster: MySQL servers, four shards, the gate on port 15306.
dev:
	@tools/install-build.sh
	@tools/install-server.sh
	@cargo build --release --locked
	target/release/shardgate dev --schema-dir testdata/billing --shards service=4 $(DEV_ARGS)

# Every check and test. The last line says what passed.
test:
	@tools/test.sh

# Money under fire: every step of two-phase commit with everything that can die there, then transfers
# under random crashes, for SECONDS on each server family. Prints what was done and found.
SECONDS ?= 300
chaos:
	@tools/chaos.sh $(SECONDS)

# Random statements over the gate and one server, with new seeds until it is stopped or something differs.
soak:
	@tools/soak.sh

# The test suites of drivers, on one server and through the gate. testdata/suites.md explains what differs.
suites:
	@tools/suites.sh

# One table from one run: direct MySQL, HAProxy in TCP mode, shardgate.
bench:
	@tools/install-build.sh
	@tools/install-bench.sh
	@tools/bench.sh

fmt:
	cargo fmt --all

lint:
	cargo clippy --all-targets --locked -- -D warnings
