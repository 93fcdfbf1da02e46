#!/usr/bin/env bash
# Installs what the build uses beside cargo: the compiler of .proto files (tools/protoc builds one
# where there is none, which takes longer).
set -euo pipefail
cd "$(dirname "$0")"
. ./install.sh
apt_install protobuf-compiler libprotobuf-dev || echo "protoc could not be installed; cargo will build protox" >&2
