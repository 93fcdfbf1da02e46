package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	querypb "vitess.io/vitess/go/vt/proto/query"
	topodata "vitess.io/vitess/go/vt/proto/topodata"
	vschema "vitess.io/vitess/go/vt/proto/vschema"
	vtorcdata "vitess.io/vitess/go/vt/proto/vtorcdata"
	vttime "vitess.io/vitess/go/vt/proto/vttime"
)

type vt interface {
	proto.Message
	MarshalVT() ([]byte, error)
}

type record struct {
	Name string          `json:"name"`
	Type string          `json:"type"`
	Hex  string          `json:"hex"`
	JSON json.RawMessage `json:"json"`
}

func main() {
	no := false
	alias := func(uid uint32) *topodata.TabletAlias { return &topodata.TabletAlias{Cell: "zone1", Uid: uid} }
	left := &topodata.KeyRange{End: []byte{0x80}}
	right := &topodata.KeyRange{Start: []byte{0x80}}
	refs := []*topodata.ShardReference{{Name: "-80", KeyRange: left}, {Name: "80-", KeyRange: right}}
	commerce := &vschema.Keyspace{Tables: map[string]*vschema.Table{"customer_seq": {Type: "sequence"}}}
	customer := &vschema.Keyspace{
		Sharded:  true,
		Vindexes: map[string]*vschema.Vindex{"hash": {Type: "hash"}},
		Tables: map[string]*vschema.Table{"customer": {
			ColumnVindexes: []*vschema.ColumnVindex{{Column: "customer_id", Name: "hash"}},
			AutoIncrement:  &vschema.AutoIncrement{Column: "customer_id", Sequence: "commerce.customer_seq"},
			Columns: []*vschema.Column{
				{Name: "customer_id", Type: querypb.Type_INT64, Nullable: &no},
				{Name: "email", Type: querypb.Type_VARCHAR, CollationName: "utf8mb4_0900_ai_ci", Size: 120, Default: "'x'"},
				{Name: "kind", Type: querypb.Type_ENUM, Values: []string{"a", "b"}, Invisible: true},
				{Name: "price", Type: querypb.Type_DECIMAL, Size: 10, Scale: 2},
			},
			ColumnListAuthoritative: true,
		}},
		ForeignKeyMode: vschema.Keyspace_disallow,
	}
	all := []struct {
		name string
		m    vt
	}{
		{"a cell", &topodata.CellInfo{ServerAddress: "10.0.0.1:2379,10.0.0.2:2379", Root: "/vitess/zone1"}},
		{"an alias of cells", &topodata.CellsAlias{Cells: []string{"zone1", "zone2"}}},
		{"a new keyspace", &topodata.Keyspace{DurabilityPolicy: "none", SidecarDbName: "_vt"}},
		{"a keyspace with everything", &topodata.Keyspace{
			KeyspaceType: topodata.KeyspaceType_SNAPSHOT, BaseKeyspace: "customer", SnapshotTime: &vttime.Time{Seconds: 1764000000, Nanoseconds: 5},
			DurabilityPolicy: "semi_sync", SidecarDbName: "_vt", VtorcState: &vtorcdata.Keyspace{DisableEmergencyReparent: true},
			ThrottlerConfig: &topodata.ThrottlerConfig{Enabled: true, Threshold: 5.5},
		}},
		{"a shard without a primary", &topodata.Shard{KeyRange: left, IsPrimaryServing: true}},
		{"an unsharded shard", &topodata.Shard{IsPrimaryServing: true, PrimaryAlias: alias(100), PrimaryTermStartTime: &vttime.Time{Seconds: 1764000000, Nanoseconds: 123456789}}},
		{"a shard with everything", &topodata.Shard{
			PrimaryAlias: alias(200), PrimaryTermStartTime: &vttime.Time{Seconds: 1764000000}, KeyRange: right,
			SourceShards:   []*topodata.Shard_SourceShard{{Uid: 1, Keyspace: "customer", Shard: "0", KeyRange: left, Tables: []string{"a", "b"}}},
			TabletControls: []*topodata.Shard_TabletControl{{TabletType: topodata.TabletType_PRIMARY, Cells: []string{"zone1"}, DeniedTables: []string{"corder"}, Frozen: true}},
			VtorcState:     &vtorcdata.Shard{DisableEmergencyReparent: true},
		}},
		{"a replica", &topodata.Tablet{
			Alias: alias(101), Hostname: "tablet101", PortMap: map[string]int32{"grpc": 16101}, Keyspace: "customer", Shard: "-80", KeyRange: left,
			Type: topodata.TabletType_REPLICA, MysqlHostname: "10.1.0.1", MysqlPort: 3306, DefaultConnCollation: 255,
		}},
		{"a primary with everything", &topodata.Tablet{
			Alias: alias(4294967295), Hostname: "tablet", PortMap: map[string]int32{"vt": 15100}, Keyspace: "customer", Shard: "80-", KeyRange: right,
			Type: topodata.TabletType_PRIMARY, DbNameOverride: "shop", Tags: map[string]string{"rack": "7"}, MysqlHostname: "mysql.example", MysqlPort: 33060,
			PrimaryTermStartTime: &vttime.Time{Seconds: 1764000000, Nanoseconds: 1}, DefaultConnCollation: 45,
			TabletStartTime: &vttime.Time{Seconds: 1763999999}, TabletShutdownTime: &vttime.Time{Seconds: 1764000001},
		}},
		{"a tablet with an empty tag and port 0", &topodata.Tablet{Alias: alias(7), PortMap: map[string]int32{"vt": 0}, Tags: map[string]string{"spare": ""}, Type: topodata.TabletType_DRAINED}},
		{"the tablets of a shard", &topodata.ShardReplication{Nodes: []*topodata.ShardReplication_Node{{TabletAlias: alias(100)}, {TabletAlias: alias(101)}}}},
		{"the serving shards", &topodata.SrvKeyspace{Partitions: []*topodata.SrvKeyspace_KeyspacePartition{
			{ServedType: topodata.TabletType_PRIMARY, ShardReferences: refs},
			{ServedType: topodata.TabletType_REPLICA, ShardReferences: refs},
			{ServedType: topodata.TabletType_RDONLY, ShardReferences: refs, ShardTabletControls: []*topodata.ShardTabletControl{{Name: "-80", KeyRange: left, QueryServiceDisabled: true}, {Name: "80-", KeyRange: right}}},
		}}},
		{"an unsharded VSchema with a plain table", &vschema.Keyspace{Tables: map[string]*vschema.Table{"product": {}}}},
		{"a VSchema with sequences", commerce},
		{"a sharded VSchema", customer},
		{"a VSchema with lookups and references", &vschema.Keyspace{
			Sharded: true, RequireExplicitRouting: true, ForeignKeyMode: vschema.Keyspace_managed,
			MultiTenantSpec: &vschema.MultiTenantSpec{TenantIdColumnName: "tenant", TenantIdColumnType: querypb.Type_UINT32},
			Vindexes:        map[string]*vschema.Vindex{"by_name": {Type: "consistent_lookup", Params: map[string]string{"table": "name_idx"}, Owner: "person"}},
			Tables:          map[string]*vschema.Table{"country": {Type: "reference", Source: "global.country", Pinned: "8a", ColumnVindexes: []*vschema.ColumnVindex{{Name: "by_name", Columns: []string{"a", "b"}}}}},
		}},
		{"what a gate reads", &vschema.SrvVSchema{
			Keyspaces:            map[string]*vschema.Keyspace{"customer": customer},
			RoutingRules:         &vschema.RoutingRules{Rules: []*vschema.RoutingRule{{FromTable: "t", ToTables: []string{"customer.t"}}, {FromTable: "u"}}},
			ShardRoutingRules:    &vschema.ShardRoutingRules{Rules: []*vschema.ShardRoutingRule{{FromKeyspace: "a", ToKeyspace: "b", Shard: "-80"}}},
			KeyspaceRoutingRules: &vschema.KeyspaceRoutingRules{Rules: []*vschema.KeyspaceRoutingRule{{FromKeyspace: "a@replica", ToKeyspace: "b"}}},
			MirrorRules:          &vschema.MirrorRules{Rules: []*vschema.MirrorRule{{FromTable: "a.t", ToTable: "b.t", Percent: 12.5}}},
		}},
		{"a gate's VSchema of an empty keyspace", &vschema.SrvVSchema{Keyspaces: map[string]*vschema.Keyspace{"new": {}}, RoutingRules: &vschema.RoutingRules{}, ShardRoutingRules: &vschema.ShardRoutingRules{}}},
		{"routing rules", &vschema.RoutingRules{Rules: []*vschema.RoutingRule{{FromTable: "commerce.customer@replica", ToTables: []string{"customer.customer"}}}}},
		{"shard routing rules", &vschema.ShardRoutingRules{Rules: []*vschema.ShardRoutingRule{{FromKeyspace: "from", ToKeyspace: "to", Shard: "80-"}}}},
		{"keyspace routing rules", &vschema.KeyspaceRoutingRules{Rules: []*vschema.KeyspaceRoutingRule{{FromKeyspace: "from", ToKeyspace: "to"}}}},
		{"mirror rules", &vschema.MirrorRules{Rules: []*vschema.MirrorRule{{FromTable: "a.t", ToTable: "b.t", Percent: 0.5}}}},
	}
	var out []record
	for _, c := range all {
		b, err := c.m.MarshalVT()
		if err != nil {
			panic(err)
		}
		j, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(c.m)
		if err != nil {
			panic(err)
		}
		out = append(out, record{c.name, string(c.m.ProtoReflect().Descriptor().FullName()), hex.EncodeToString(b), j})
	}
	fmt.Println("[")
	for i, r := range out {
		var j any
		_ = json.Unmarshal(r.JSON, &j)
		b, _ := json.Marshal(r)
		end := ","
		if i == len(out)-1 {
			end = ""
		}
		fmt.Println("  " + string(b) + end)
	}
	fmt.Println("]")

}
