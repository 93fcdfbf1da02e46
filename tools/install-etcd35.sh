#!/usr/bin/env bash
# Builds etcd 3.5 from its Go module, once per user, and prints the folder that holds it. Debian has 3.4.
set -euo pipefail
cd "$(dirname "$0")/etcd35"
folder="${SHARDGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/shardgate}/etcd35"
version=$(sed -n 's|.*go.etcd.io/etcd/server/v3 \(v[0-9.]*\)$|\1|p' go.mod)
if [ "$("$folder/etcd" --version 2>/dev/null | head -1)" != "etcd Version: ${version#v}" ]; then
  command -v go >/dev/null || { echo "there is no Go" >&2; exit 1; }
  mkdir -p "$folder"
  go build -o "$folder/etcd.new" go.etcd.io/etcd/server/v3 >&2
  mv "$folder/etcd.new" "$folder/etcd"
fi
echo "$folder"
