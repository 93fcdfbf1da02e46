//go:build build

// Package etcd35 pins the etcd 3.5 that the topology is tested on, beside Debian's 3.4.
package etcd35

import _ "go.etcd.io/etcd/server/v3"
