//! The tar format as layers use it: ustar, PAX, GNU long names, base-256 numbers, sparse files.
