//! The words that mount entries may use as options: one table.

/// Every word that is understood here and not passed to the filesystem, for `features`.
pub fn words() -> impl Iterator<Item = &'static str> {
    ["bind", "rbind"].into_iter()
}
