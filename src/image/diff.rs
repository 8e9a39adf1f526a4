//! From the writable layer of an overlay mount to a layer tar.
