#!/usr/bin/env bash
# Runs fuzz targets, one after the other, each for some seconds.
#
#   tools/fuzz.sh [SECONDS [TARGET...]]      60 seconds each, all targets of fuzz/
#
# Needs cargo-fuzz (`cargo install cargo-fuzz`) and a C++ compiler. Works with a stable compiler, too: the
# instrumentation that it takes is behind RUSTC_BOOTSTRAP. What was found interesting stays in fuzz/corpus,
# what went wrong in fuzz/artifacts; neither is part of the repository.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo fuzz --version >/dev/null 2>&1 || { echo "cargo-fuzz is missing: cargo install cargo-fuzz" >&2; exit 1; }
seconds=${1:-60}
shift || true
export RUSTC_BOOTSTRAP=1
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
# The statements of the golden plans, each behind a byte of options.
seed_statements() {
  cat testdata/plans/*.txt | awk -v folder=fuzz/corpus/statement '
    /^----$/ { if (text != "") { file = folder "/golden-" ++count; printf " %s", text > file; close(file) } answer = 1; next }
    /^$/ { answer = 0; text = ""; next }
    /^#/ { next }
    !answer { text = text (text == "" ? "" : "\n") $0 }'
}

failed=()
for target in "${targets[@]}"; do
  echo "== $target, $seconds s"
  mkdir -p "fuzz/corpus/$target"
  [ "$target" != statement ] || seed_statements
  cargo fuzz run "$target" "fuzz/corpus/$target" -- \
    -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 || failed+=("$target")
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
echo "${#targets[@]} targets, $seconds s each: nothing found"
