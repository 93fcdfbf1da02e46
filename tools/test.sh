#!/usr/bin/env bash
# Every check and test of the project, in order of how soon it fails. Goes on after a failure, so that
# one run tells all; the last line says what passed, and the exit code is 1 if anything failed.
set -uo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never

passed=0
failed=0
notes=()
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# check NAME COMMAND...: one check that passes or fails as a whole.
check() {
  local name=$1
  shift
  echo "== $name"
  if "$@" </dev/null; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    notes+=("FAILED: $name")
  fi
}

# tests NAME COMMAND...: a command that runs cargo tests; each of its tests counts.
tests() {
  local name=$1 log="$logs/$RANDOM" status=0 ok=0 bad=0 line
  shift
  echo "== $name"
  "$@" </dev/null 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  while read -r line; do
    [[ $line =~ ([0-9]+)\ passed\;\ ([0-9]+)\ failed ]] || continue
    ok=$((ok + BASH_REMATCH[1]))
    bad=$((bad + BASH_REMATCH[2]))
  done < <(grep '^test result:' "$log")
  # A command that failed before or between its tests has failed once.
  if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
  passed=$((passed + ok))
  failed=$((failed + bad))
  if [ "$bad" -ne 0 ]; then notes+=("FAILED: $name"); fi
}

# The golden files say what the code does: writing them anew changes nothing.
golden() {
  [ -d .git ] || [ -f .git ] || return 0
  git diff --quiet -- testdata docs || { echo "testdata or docs has changes that are not committed; not checked"; return 0; }
  UPDATE_GOLDEN=1 cargo test --locked --lib --quiet >/dev/null 2>&1 && git diff --exit-code --stat -- testdata docs
}

tools/install-test.sh || notes+=("some programs that the tests use could not be installed")
servers=$(command -v mariadbd || ls /usr/sbin/mariadbd 2>/dev/null || true)
tools/install-clients.sh || notes+=("some languages of tests/clients could not be installed")
if mysqld=$(tools/install-mysql97.sh); then
  servers="$mysqld${servers:+,$servers}"
else
  notes+=("MySQL 9.7 could not be installed here: the tests ran without it")
fi
# Comma-separated paths of server programs; the integration tests run once on each.
export SHARDGATE_TEST_MYSQLD=$servers

check "formatting" cargo fmt --all --check
check "lints" cargo clippy --all-targets --locked --quiet -- -D warnings
# What may come in as a dependency. Known vulnerabilities are looked up only where their database is.
if deny=$(tools/install-deny.sh); then
  deny() { "$deny" --log-level error --locked --config .deny.toml check --hide-inclusion-graph "$@"; }
  check "licences and sources of dependencies" deny --allow duplicate licenses bans sources
  if compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-db*/*" >/dev/null; then
    check "known vulnerabilities of dependencies" deny --disable-fetch advisories
  else
    notes+=("NOT RUN: known vulnerabilities of dependencies: no advisory database here (cargo deny fetch db)")
  fi
else
  notes+=("NOT RUN: licences, sources and vulnerabilities of dependencies: cargo-deny could not be installed")
fi
tests "unit tests" cargo test --locked --lib --bins
check "golden files" golden
tests "documentation tests" cargo test --locked --doc
# Integration tests of single rooms: one file each in tests/, a folder for the engine and for the
# topology, which starts etcd servers.
integration=()
for file in tests/*.rs; do
  [ -f "$file" ] && integration+=(--test "$(basename "$file" .rs)")
done
integration+=(--test engine --test topology)
[ ${#integration[@]} -gt 0 ] && tests "integration tests" cargo test --locked --no-fail-fast "${integration[@]}"
# Once more over the other etcd that will do; servers play no part there.
if etcd35=$(tools/install-etcd35.sh); then
  tests "topology tests over etcd 3.5" env PATH="$etcd35:$PATH" cargo test --locked --test topology -- ctl:: follow:: locks::
else
  notes+=("NOT RUN: topology tests over etcd 3.5: it could not be built here")
fi
# The built gate over every server that SHARDGATE_TEST_MYSQLD names; it lists what could not run.
export SHARDGATE_TEST_NOT_RUN="$logs/not-run"
tests "end-to-end tests" cargo test --locked --test e2e
# The same statements on the gate and on one plain server; the scoreboard must not get worse.
tests "differential tests" cargo test --locked --test differential
while read -r line; do
  notes+=("NOT RUN: $line")
done < <(cat "$SHARDGATE_TEST_NOT_RUN" 2>/dev/null)
# Two-phase commit while gates, servers and connections die; the steps are compiled in for it.
export SHARDGATE_TEST_NOT_RUN_ATOMICITY="$logs/not-run-atomicity"
tests "atomicity tests" cargo test --locked --features testkit --test atomicity
while read -r line; do
  notes+=("NOT RUN: $line")
done < <(cat "$SHARDGATE_TEST_NOT_RUN_ATOMICITY" 2>/dev/null)
for suite in tools/test-*.sh; do
  [ -x "$suite" ] && check "$(basename "$suite" .sh)" "$suite"
done

echo
for note in ${notes[@]+"${notes[@]}"}; do echo "$note"; done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
