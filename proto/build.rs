//! Generates the wire types from every `.proto` file under `proto/`, without protoc.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the `.proto` files are, and what their imports are relative to.
const ROOT: &str = "proto";

/// The package of another project's interface.
const FOREIGN: &str = "etcdserverpb";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ROOT}");
    let mut files = Vec::new();
    collect(Path::new(ROOT), &mut files)?;
    files.sort();
    let descriptors = protox::compile(files, [ROOT])?;
    // Reflection shows what Covey serves, not what its benchmark speaks.
    let mut served = descriptors.clone();
    served.file.retain(|file| file.package() != FOREIGN);
    let bytes = prost::Message::encode_to_vec(&served);
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("covey_descriptor.bin");
    fs::write(out, bytes)?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}

/// Adds the `.proto` files below `folder`, and tells cargo to watch each folder on the way.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
