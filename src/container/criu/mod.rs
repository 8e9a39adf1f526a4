//! CRIU, the program that writes processes to files and makes them again (criu.org): called as `criu swrk 3`, a worker that
//! talks over the SEQPACKET socket that is its descriptor 3, one protobuf message a packet (criu's images/rpc.proto).
//!
//! ```text
//!  ocicat                                    criu swrk 3
//!    request (DUMP, PRE_DUMP, RESTORE, ...) ──▶
//!    ◀── NOTIFY "setup-namespaces", pid         as often as something happens, descriptors beside it
//!    NOTIFY, success or not ──▶                 a failure makes criu take everything back
//!    ◀── response: success, pid, or errno       the cause of a failure is in its log
//! ```
//!
//! Two messages of a few dozen fields are all that is spoken, so `wire` writes and reads protobuf itself: the crates that
//! do it bring a code generator, and the one that wraps these calls cannot hand descriptors and a cgroup to the worker.

mod log;
mod message;
mod options;
mod session;
mod wire;
mod worker;

pub(super) use message::{Features, Kind, Notification, Request};
pub(super) use options::{Options, field};
pub(super) use session::Directories;
pub(super) use worker::{Streams, Surroundings, Worker, is_possible, program};
