//! A stack of layer directories as one tree: the overlay mount.
