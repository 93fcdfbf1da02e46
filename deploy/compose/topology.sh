#!/bin/sh
# Describes the cluster of docker-compose.yml in etcd. Nothing is done twice: a cluster that is described
# already stays as it is.
set -eu
ctl() { ${SHARDGATE:-shardgate} ctl --config "${CONFIG:-/etc/shardgate/gate.toml}" "$@"; }
schemas=${SCHEMAS:-/etc/billing}

ctl GetCellInfo zone1 >/dev/null 2>&1 || ctl AddCellInfo zone1 --root /vitess/zone1
for keyspace in global service; do
  ctl GetKeyspace "$keyspace" >/dev/null 2>&1 || ctl CreateKeyspace "$keyspace"
done

shard() { # ALIAS KEYSPACE/SHARD HOST SCHEMA
  ctl GetShard "$2" >/dev/null 2>&1 || ctl CreateShard "$2"
  ctl GetTablet "$1" >/dev/null 2>&1 || ctl AddTablet "$1" "$2" --host "$3" --type primary --schema "$4"
}
shard zone1-100 global/0 global global
shard zone1-200 service/-40 service-1 service
shard zone1-300 service/40-80 service-2 service
shard zone1-400 service/80-c0 service-3 service
shard zone1-500 service/c0- service-4 service

for keyspace in global service; do
  ctl ApplyVSchema "$keyspace" --vschema-file "$schemas/$keyspace/vschema.json"
done
ctl Validate
