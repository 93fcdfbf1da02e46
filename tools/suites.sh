#!/usr/bin/env bash
# The test suites that drivers bring along, against one plain server and against the gate over that server: how many
# tests pass on each, and which pass on the server only. `testdata/suites.md` explains what differs.
# What it needs beside cargo: MySQL's server (tools/test.sh installs it), Python 3 with venv, Go. Takes a few minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
mysqld=${SHARDGATE_TEST_MYSQLD:-$HOME/.cache/shardgate/mysql97/bin/mysqld}
mysqld=${mysqld%%,*}
gate=${SHARDGATE_TEST_BINARY:-target/debug/shardgate}
[ -n "${SHARDGATE_TEST_BINARY:-}" ] || cargo build --locked --quiet
work=$PWD/target/suites
mkdir -p "$work"
run=$(mktemp -d "${TMPDIR:-/tmp}/shardgate-suites-XXXXXX")
started=()
end() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$run"
}
trap end EXIT

free_ports() {
  python3 - <<'PY'
import socket
sockets = [socket.socket() for _ in range(3)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))
PY
}
read -r server_port gate_port http_port < <(free_ports)

# === One server ===
as_root=()
[ "$(id -u)" != 0 ] || as_root=(--user=root)
mkdir "$run/tmp"
"$mysqld" --no-defaults --tmpdir="$run/tmp" "${as_root[@]}" --initialize-insecure --datadir="$run/data" >"$run/init.log" 2>&1
"$mysqld" --no-defaults --tmpdir="$run/tmp" "${as_root[@]}" --datadir="$run/data" --port="$server_port" --socket="$run/my.sock" \
  --pid-file="$run/my.pid" --bind-address=127.0.0.1 --character-set-server=utf8mb4 --local-infile=1 --max-allowed-packet=64M \
  --secure-file-priv= --mysqlx=OFF --skip-log-bin >"$run/server.log" 2>&1 &
started+=($!)

[ -x "$work/venv/bin/pytest" ] || {
  echo "suites: installing PyMySQL's sources, pytest and cryptography into target/suites"
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check pytest==8.3.3 cryptography pymysql==1.1.2
}
python=$work/venv/bin/python
sql() {
  "$python" - "$run/my.sock" "$@" <<'PY'
import sys, time, pymysql
for attempt in range(120):
    try:
        connection = pymysql.connect(unix_socket=sys.argv[1], user="root")
        break
    except pymysql.err.OperationalError:
        time.sleep(0.5)
with connection.cursor() as cursor:
    for statement in sys.argv[2:]:
        cursor.execute(statement)
PY
}
sql "CREATE USER suite@'%' IDENTIFIED BY 'suite'" "GRANT ALL ON *.* TO suite@'%'" \
  "CREATE USER gate@'%' IDENTIFIED BY 'gate'" "GRANT ALL ON *.* TO gate@'%'" \
  "CREATE DATABASE test1" "CREATE DATABASE test2" "CREATE DATABASE gotest"

# === The gate over it ===
{
  echo 'cells = ["zone1"]'
  uid=100
  for keyspace in test1 test2 gotest; do
    printf '\n[keyspaces.%s]\nvschema = "vschema.json"\n\n[[keyspaces.%s.shards]]\nname = "0"\n\n' "$keyspace" "$keyspace"
    printf '[[keyspaces.%s.shards.servers]]\nalias = "zone1-%d"\nhost = "127.0.0.1"\nport = %d\nrole = "primary"\nschema = "%s"\n' \
      "$keyspace" "$uid" "$server_port" "$keyspace"
    uid=$((uid + 1))
  done
} >"$run/topology.toml"
echo '{"sharded": false, "tables": {}}' >"$run/vschema.json"
echo '{"suite": {"Password": "suite"}}' >"$run/users.json"
cat >"$run/gate.toml" <<TOML
[listen]
address = "127.0.0.1:$gate_port"
[http]
address = "127.0.0.1:$http_port"
[topology]
kind = "file"
path = "$run/topology.toml"
[users]
static_file = "$run/users.json"
[backend]
user = "gate"
password = "gate"
TOML
"$gate" serve --config "$run/gate.toml" >"$run/gate.log" 2>&1 &
started+=($!)
for _ in $(seq 120); do
  grep -q '^ready' "$run/gate.log" && break
  sleep 0.5
done

# === PyMySQL: 0.10.1 is the last release whose source archive holds the tests of the driver ===
[ -d "$work/PyMySQL-0.10.1" ] || {
  "$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: --dest "$work" PyMySQL==0.10.1
  tar -xf "$work"/PyMySQL-0.10.1.tar.gz -C "$work"
}
pymysql() {
  sql "DROP DATABASE test1" "CREATE DATABASE test1" "DROP DATABASE test2" "CREATE DATABASE test2"
  local one="\"host\": \"127.0.0.1\", \"port\": $2, \"user\": \"suite\", \"passwd\": \"suite\", \"use_unicode\": true, \"local_infile\": true"
  echo "[{$one, \"db\": \"test1\"}, {$one, \"db\": \"test2\"}]" >"$work/PyMySQL-0.10.1/pymysql/tests/databases.json"
  (cd "$work/PyMySQL-0.10.1" && timeout 900 "$python" -m pytest -q -p no:cacheprovider -rA pymysql/tests >"$run/pymysql-$1.log" 2>&1) || true
  grep -E '^(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)' "$run/pymysql-$1.log" | sed 's/ - .*//' | sort -u >"$run/pymysql-$1.txt"
  sed -n 's/^PASSED //p' "$run/pymysql-$1.txt" >"$run/pymysql-$1.passed"
}

# === go-sql-driver/mysql: the module holds its tests ===
driver=github.com/go-sql-driver/mysql@v1.10.1
[ -d "$work/go-sql-driver" ] || {
  folder=$(cd "$run" && go mod download -json "$driver" | python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])')
  cp -r "$folder" "$work/go-sql-driver"
  chmod -R u+w "$work/go-sql-driver"
}
go_driver() {
  sql "DROP DATABASE gotest" "CREATE DATABASE gotest"
  (cd "$work/go-sql-driver" && MYSQL_TEST_USER=suite MYSQL_TEST_PASS=suite MYSQL_TEST_PROT=tcp MYSQL_TEST_ADDR=127.0.0.1:$2 \
    MYSQL_TEST_DBNAME=gotest MYSQL_TEST_CONCURRENT=1 timeout 900 go test -count=1 -v -skip TestConnectorReturnsTimeout ./... \
    >"$run/go-$1.log" 2>&1) || true
  grep -E '^ *--- (PASS|FAIL|SKIP)' "$run/go-$1.log" | sed -E 's/^ *--- //; s/ \(.*//; s/: / /' | sort -u >"$run/go-$1.txt"
  sed -n 's/^PASS //p' "$run/go-$1.txt" >"$run/go-$1.passed"
}

for side in "direct $server_port" "gate $gate_port"; do
  # shellcheck disable=SC2086 # two words
  pymysql $side
  # shellcheck disable=SC2086
  go_driver $side
done

echo "| suite | passes direct | passes through the gate | passes direct only |"
echo "|---|---|---|---|"
for suite in pymysql go; do
  count() { wc -l <"$run/$suite-$1.passed" | tr -d ' '; }
  comm -23 "$run/$suite-direct.passed" "$run/$suite-gate.passed" >"$run/$suite.lost"
  echo "| $suite | $(count direct) | $(count gate) | $(wc -l <"$run/$suite.lost" | tr -d ' ') |"
done
for suite in pymysql go; do
  while read -r name; do echo "$suite: $name"; done <"$run/$suite.lost"
done
if [ -n "${SUITES_LOGS:-}" ]; then cp "$run"/*.log "$run"/*.txt "$SUITES_LOGS"; fi
