//! The architectures of the spec: their words, audit tokens, widths and columns of the table of system calls.

/// One architecture as a seccomp filter sees it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Architecture {
    /// The spec's word.
    pub(super) word: &'static str,
    /// AUDIT_ARCH_* (linux/audit.h): what the kernel writes into `seccomp_data.arch`.
    pub(super) token: u32,
    /// Its column in the table of system calls.
    pub(super) column: usize,
    /// Arguments of 64 bits; with 32 only the low word of an argument counts (libseccomp's reading, x32 and n32 too).
    pub(super) wide: bool,
    /// The high word of an argument comes first.
    pub(super) big_endian: bool,
    /// Added to the table's numbers: bit 30 for x32 (asm/unistd.h, `__X32_SYSCALL_BIT`).
    pub(super) number_bit: u32,
}

/// Bit 30 of a system call number marks x32 on x86_64.
pub(super) const X32_BIT: u32 = 0x4000_0000;

const LITTLE: u32 = 0x4000_0000;
const WIDE: u32 = 0x8000_0000;
const N32: u32 = 0x2000_0000;

const fn arch(word: &'static str, token: u32, column: usize, wide: bool) -> Architecture {
    let big_endian = token & LITTLE == 0;
    Architecture { word, token, column, wide, big_endian, number_bit: 0 }
}

/// Machine numbers are those of linux/elf-em.h.
static ALL: [Architecture; 23] = [
    arch("SCMP_ARCH_X86_64", 62 | WIDE | LITTLE, 0, true),
    arch("SCMP_ARCH_X86", 3 | LITTLE, 1, false),
    Architecture { number_bit: X32_BIT, ..arch("SCMP_ARCH_X32", 62 | WIDE | LITTLE, 2, false) },
    arch("SCMP_ARCH_AARCH64", 183 | WIDE | LITTLE, 3, true),
    arch("SCMP_ARCH_ARM", 40 | LITTLE, 4, false),
    arch("SCMP_ARCH_RISCV64", 243 | WIDE | LITTLE, 5, true),
    arch("SCMP_ARCH_LOONGARCH64", 258 | WIDE | LITTLE, 6, true),
    arch("SCMP_ARCH_PPC", 20, 7, false),
    arch("SCMP_ARCH_PPC64", 21 | WIDE, 8, true),
    arch("SCMP_ARCH_PPC64LE", 21 | WIDE | LITTLE, 8, true),
    arch("SCMP_ARCH_S390", 22, 9, false),
    arch("SCMP_ARCH_S390X", 22 | WIDE, 10, true),
    arch("SCMP_ARCH_MIPS", 8, 11, false),
    arch("SCMP_ARCH_MIPSEL", 8 | LITTLE, 11, false),
    arch("SCMP_ARCH_MIPS64", 8 | WIDE, 12, true),
    arch("SCMP_ARCH_MIPSEL64", 8 | WIDE | LITTLE, 12, true),
    arch("SCMP_ARCH_MIPS64N32", 8 | WIDE | N32, 13, false),
    arch("SCMP_ARCH_MIPSEL64N32", 8 | WIDE | LITTLE | N32, 13, false),
    arch("SCMP_ARCH_PARISC", 15, 14, false),
    arch("SCMP_ARCH_PARISC64", 15 | WIDE, 15, true),
    arch("SCMP_ARCH_M68K", 4, 16, false),
    arch("SCMP_ARCH_SH", 42 | LITTLE, 17, false),
    arch("SCMP_ARCH_SHEB", 42, 17, false),
];

/// The architecture of the spec's word.
pub(super) fn find(word: &str) -> Option<&'static Architecture> {
    ALL.iter().find(|a| a.word == word)
}

/// All of them, in no meaningful order.
pub(super) fn all() -> &'static [Architecture] {
    &ALL
}

/// The architecture that this program was built for; a filter always covers it.
pub(super) fn native() -> &'static Architecture {
    let word = match (std::env::consts::ARCH, cfg!(target_endian = "big"), cfg!(target_pointer_width = "32")) {
        ("x86_64", _, true) => "SCMP_ARCH_X32",
        ("x86", ..) => "SCMP_ARCH_X86",
        ("aarch64", ..) => "SCMP_ARCH_AARCH64",
        ("arm", ..) => "SCMP_ARCH_ARM",
        ("riscv64", ..) => "SCMP_ARCH_RISCV64",
        ("loongarch64", ..) => "SCMP_ARCH_LOONGARCH64",
        ("powerpc", ..) => "SCMP_ARCH_PPC",
        ("powerpc64", true, _) => "SCMP_ARCH_PPC64",
        ("powerpc64", false, _) => "SCMP_ARCH_PPC64LE",
        ("s390x", ..) => "SCMP_ARCH_S390X",
        ("mips", true, _) => "SCMP_ARCH_MIPS",
        ("mips", false, _) => "SCMP_ARCH_MIPSEL",
        ("mips64", true, _) => "SCMP_ARCH_MIPS64",
        ("mips64", false, _) => "SCMP_ARCH_MIPSEL64",
        ("m68k", ..) => "SCMP_ARCH_M68K",
        _ => "SCMP_ARCH_X86_64",
    };
    find(word).unwrap_or(&ALL[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::tables::COLUMNS;

    #[test]
    fn words_and_columns_belong_together() {
        for a in all() {
            let short = a.word.trim_start_matches("SCMP_ARCH_").to_ascii_lowercase();
            let short = match short.as_str() {
                "ppc64le" => "ppc64",
                "mipsel" => "mips",
                "mipsel64" => "mips64",
                "mipsel64n32" => "mips64n32",
                "sheb" => "sh",
                other => other,
            };
            assert_eq!(COLUMNS[a.column], short, "{}", a.word);
        }
    }

    #[test]
    fn tokens_are_those_of_the_audit_header() {
        let expected = [
            ("SCMP_ARCH_X86_64", 0xc000_003e),
            ("SCMP_ARCH_X86", 0x4000_0003),
            ("SCMP_ARCH_X32", 0xc000_003e),
            ("SCMP_ARCH_AARCH64", 0xc000_00b7),
            ("SCMP_ARCH_ARM", 0x4000_0028),
            ("SCMP_ARCH_RISCV64", 0xc000_00f3),
            ("SCMP_ARCH_LOONGARCH64", 0xc000_0102),
            ("SCMP_ARCH_PPC64LE", 0xc000_0015),
            ("SCMP_ARCH_S390X", 0x8000_0016),
            ("SCMP_ARCH_MIPSEL64N32", 0xe000_0008),
            ("SCMP_ARCH_SH", 0x4000_002a),
        ];
        for (word, token) in expected {
            assert_eq!(find(word).unwrap().token, token, "{word}");
        }
    }
}
