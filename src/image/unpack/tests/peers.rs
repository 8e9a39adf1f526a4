//! What GNU tar makes of the same archives.
