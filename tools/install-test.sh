#!/usr/bin/env bash
# Installs what the tests use: MariaDB's server and client programs, etcd, sysbench, HAProxy,
# docker-compose, Prometheus with Alertmanager, and a JDK with Maven; and what the build uses.
set -euo pipefail
cd "$(dirname "$0")"
. ./install.sh
apt_install mariadb-server mariadb-client || exit 1
./install-build.sh
apt_install etcd-server etcd-client || echo "etcd could not be installed" >&2
# Without these some end-to-end tests say that they were left out.
apt_install sysbench || echo "sysbench could not be installed" >&2
apt_install docker-compose || echo "docker-compose could not be installed" >&2
apt_install prometheus prometheus-alertmanager || echo "Prometheus could not be installed" >&2
apt_install haproxy || echo "HAProxy could not be installed" >&2
command -v java >/dev/null || apt_install default-jdk-headless || echo "Java could not be installed" >&2
command -v mvn >/dev/null || apt_install maven || echo "Maven could not be installed" >&2
