//! System call numbers: `tables/syscalls.tsv` read at compile time into one column per architecture and a hash of names.

/// The data file; `tables/regenerate` makes it and says from what.
const SOURCE: &[u8] = include_bytes!("tables/syscalls.tsv");
/// Columns of the data file, in its order.
pub(super) const COLUMNS: [&str; 18] = [
    "x86_64",
    "x86",
    "x32",
    "aarch64",
    "arm",
    "riscv64",
    "loongarch64",
    "ppc",
    "ppc64",
    "s390",
    "s390x",
    "mips",
    "mips64",
    "mips64n32",
    "parisc",
    "parisc64",
    "m68k",
    "sh",
];
const ROWS: usize = count_rows();
/// Slots of the hash of names: a power of two, at least twice as many as rows.
const SLOTS: usize = 2048;
const NONE: u16 = u16::MAX;
/// ARM's private calls are 0x0f0000 + n (arch/arm/include/uapi/asm/unistd.h); they are kept as 0xff00 + n.
pub(super) const ARM_PRIVATE: u32 = 0x000f_0000;
const ARM_PRIVATE_KEPT: u16 = 0xff00;

struct Table {
    names: [(u16, u8); ROWS],
    numbers: [[u16; ROWS]; COLUMNS.len()],
    slots: [u16; SLOTS],
}

#[allow(long_running_const_eval, reason = "38 KB are read once, at compile time")]
static TABLE: Table = read();

/// A system call that the table knows, on whatever architectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row(u16);

/// Finds a system call by its kernel name.
pub(super) fn find(name: &str) -> Option<Row> {
    let mut slot = hash(name.as_bytes()) as usize % SLOTS;
    loop {
        let row = *TABLE.slots.get(slot)?;
        if row == NONE {
            return None;
        }
        if Row(row).name() == name.as_bytes() {
            return Some(Row(row));
        }
        slot = (slot + 1) % SLOTS;
    }
}

impl Row {
    /// Its name, as bytes of ASCII.
    pub(super) fn name(self) -> &'static [u8] {
        let (start, length) = TABLE.names.get(usize::from(self.0)).copied().unwrap_or_default();
        SOURCE.get(usize::from(start)..usize::from(start) + usize::from(length)).unwrap_or_default()
    }

    /// Its number in that column, if the architecture has it.
    pub(super) fn number(self, column: usize) -> Option<u32> {
        match *TABLE.numbers.get(column)?.get(usize::from(self.0))? {
            NONE => None,
            kept if kept >= ARM_PRIVATE_KEPT => Some(ARM_PRIVATE | u32::from(kept & 0xff)),
            number => Some(u32::from(number)),
        }
    }
}

/// True for ARM's private calls, which are no measure of how new a profile is.
pub(super) fn is_private(number: u32) -> bool {
    number & 0xffff_0000 == ARM_PRIVATE
}

/// FNV-1a.
const fn hash(name: &[u8]) -> u32 {
    let mut sum = 0x811c_9dc5_u32;
    let mut i = 0;
    while i < name.len() {
        sum = (sum ^ name[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    sum ^ (sum >> 15)
}

/// Lines of the data file without its comments and its header.
const fn count_rows() -> usize {
    let mut rows = 0;
    let mut at = 0;
    while at < SOURCE.len() {
        if SOURCE[at] != b'#' {
            rows += 1;
        }
        at = line_end(at) + 1;
    }
    rows - 1
}

const fn line_end(mut at: usize) -> usize {
    while SOURCE[at] != b'\n' {
        at += 1;
    }
    at
}

const fn cell_end(mut at: usize) -> usize {
    while SOURCE[at] != b'\t' && SOURCE[at] != b'\n' {
        at += 1;
    }
    at
}

const fn cell(from: usize, to: usize) -> u16 {
    if SOURCE[from] == b'-' {
        return NONE;
    }
    let mut value = 0_u32;
    let mut at = from;
    while at < to {
        value = value * 10 + (SOURCE[at] - b'0') as u32;
        at += 1;
    }
    if value & 0xffff_0000 == ARM_PRIVATE {
        return ARM_PRIVATE_KEPT | (value & 0xff) as u16;
    }
    assert!(value < ARM_PRIVATE_KEPT as u32, "a number does not fit the table");
    value as u16
}

/// Runs at compile time only, where an index out of bounds is an error of the build and never a panic.
const fn read() -> Table {
    let mut table = Table { names: [(0, 0); ROWS], numbers: [[NONE; ROWS]; COLUMNS.len()], slots: [NONE; SLOTS] };
    let mut at = 0;
    while SOURCE[at] == b'#' {
        at = line_end(at) + 1;
    }
    at = line_end(at) + 1;
    let mut row = 0;
    while row < ROWS {
        let mut end = cell_end(at);
        table.names[row] = (at as u16, (end - at) as u8);
        let (name, _) = SOURCE.split_at(end);
        let (_, name) = name.split_at(at);
        let mut slot = hash(name) as usize % SLOTS;
        while table.slots[slot] != NONE {
            slot = (slot + 1) % SLOTS;
        }
        table.slots[slot] = row as u16;
        let mut column = 0;
        while column < COLUMNS.len() {
            let start = end + 1;
            end = cell_end(start);
            table.numbers[column][row] = cell(start, end);
            column += 1;
        }
        at = end + 1;
        row += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_are_those_of_the_data_file() {
        let text = std::str::from_utf8(SOURCE).unwrap();
        let header = text.lines().find(|l| !l.starts_with('#')).unwrap();
        assert_eq!(header.split('\t').skip(1).collect::<Vec<_>>(), COLUMNS);
        assert_eq!(text.lines().filter(|l| !l.starts_with('#')).count() - 1, ROWS);
    }

    #[test]
    fn every_cell_of_the_data_file_is_found_again() {
        let text = std::str::from_utf8(SOURCE).unwrap();
        for line in text.lines().filter(|l| !l.starts_with('#')).skip(1) {
            let mut cells = line.split('\t');
            let row = find(cells.next().unwrap()).unwrap();
            for (column, cell) in cells.enumerate() {
                assert_eq!(row.number(column), cell.parse().ok(), "{line}");
            }
        }
    }

    #[test]
    fn an_unknown_name_is_not_found() {
        for name in ["", "reed", "read ", "openat3", "name"] {
            assert_eq!(find(name), None, "{name}");
        }
    }
}
