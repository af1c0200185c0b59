//! The wire: types and services generated from the `.proto` files, and the only conversions between them and the domain.
//!
//! Nothing else in the workspace sees wire types beside domain types. Invariant: a domain value survives the way to the
//! wire and back; a wire value that is no domain value is refused with the path of the offending field.

pub mod convert;

/// Services and messages for clients.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("covey.v1");
}

/// What nodes ask of each other above consensus.
pub mod node {
    /// Version 1.
    #[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    pub mod v1 {
        tonic::include_proto!("covey.node.v1");
    }
}

/// What nodes ask of each other for consensus.
pub mod peer {
    /// Version 1.
    #[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    pub mod v1 {
        tonic::include_proto!("covey.peer.v1");
    }
}

/// The part of etcd's interface that the consensus benchmark speaks.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod etcd {
    tonic::include_proto!("etcdserverpb");
}

/// Every message and service above as an encoded `FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/covey_descriptor.bin"));
