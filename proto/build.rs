//! Generates the wire types from the `.proto` files, without protoc.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let files = [
        "proto/covey/v1/common.proto",
        "proto/covey/v1/features.proto",
        "proto/covey/v1/registry.proto",
        "proto/covey/v1/training.proto",
        "proto/covey/v1/serving.proto",
        "proto/covey/v1/monitoring.proto",
        "proto/covey/v1/cluster.proto",
        "proto/covey/node/v1/node.proto",
        "proto/covey/peer/v1/peer.proto",
    ];
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    let bytes = prost::Message::encode_to_vec(&descriptors);
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("covey_descriptor.bin");
    std::fs::write(out, bytes)?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
