//! Compiles `proto/*.proto` to Rust; `src/topology/wire.rs` includes the result.

fn main() -> std::io::Result<()> {
    println!("cargo:rerun-if-changed=proto");
    prost_build::compile_protos(&["proto/topodata.proto", "proto/vschema.proto"], &["proto"])
}
