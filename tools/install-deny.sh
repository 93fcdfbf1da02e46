#!/usr/bin/env bash
# Installs cargo-deny, the check of what dependencies bring along, from crates.io into a cache folder.
# Prints the path of the program, and nothing else, on standard output.
#
# The folder is ${SHARDGATE_CACHE:-$HOME/.cache/shardgate}/deny; a cargo-deny on PATH is used as it is.
set -euo pipefail
version=0.20.2
if cargo deny --version >/dev/null 2>&1; then
  command -v cargo-deny || echo "${CARGO_HOME:-$HOME/.cargo}/bin/cargo-deny"
  exit 0
fi
home=${SHARDGATE_CACHE:-$HOME/.cache/shardgate}/deny
program=$home/bin/cargo-deny
if [ "$("$program" --version 2>/dev/null)" != "cargo-deny $version" ]; then
  echo "installing cargo-deny $version from crates.io into $home" >&2
  # Without optimisation: it is built once and runs for seconds.
  build=$(mktemp -d)
  trap 'rm -rf "$build"' EXIT
  cargo install --quiet --locked --debug --root "$home" --target-dir "$build" "cargo-deny@$version" >&2
fi
echo "$program"
