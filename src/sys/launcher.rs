//! The launcher: a program of a few hundred bytes in a sealed memfd, whose only job is the last execve.
//!
//! While the kernel runs the container's program, /proc/self/exe is that memfd and not the host's runtime
//! (CVE-2019-5736), whatever `#!` lines the image has. Its arguments are the path to run and then the program's own
//! arguments; the program's environment is its own.
//!
//! ```text
//! ELF header, PT_LOAD (all of the file, r-x), PT_GNU_STACK (rw-) | code | outcome, procfs, text, length | file\0 text
//! ```

use super::{Asked, Errno, Error, Result, checked, children::pointers, files, memory, procfs::Procfs};
use std::arch::global_asm;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A label for the next program: file below /proc and text.
#[derive(Debug, Clone, Copy)]
pub struct Label<'a> {
    /// Stays open until right before the execve: [`Procfs::open_processes`], which shows nothing but processes.
    pub procfs: &'a Procfs,
    /// `self/attr/exec`
    pub file: &'a CStr,
    /// What is written there.
    pub text: &'a CStr,
}

/// What the launcher is told besides the program.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Written before the execve.
    pub label: Option<Label<'a>>,
    /// Gets what [`outcome`] reads when the execve fails; closed by a successful one.
    pub outcome: Option<BorrowedFd<'a>>,
}

/// What went wrong in a launcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The execve of the program.
    Execute(Errno),
    /// Writing the label.
    Label(Errno),
}

/// Reads the message of a failed launcher: four bytes, little endian, the errno, with bit 16 set for the label.
pub fn outcome(bytes: &[u8]) -> Option<Outcome> {
    let number = i32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    let errno = Errno(number & !IN_LABEL);
    Some(if number & IN_LABEL == 0 { Outcome::Execute(errno) } else { Outcome::Label(errno) })
}

const IN_LABEL: i32 = 0x10000;

/// A prepared launcher.
#[derive(Debug)]
pub struct Launcher {
    file: OwnedFd,
    inherited: [RawFd; 2],
}

impl Launcher {
    /// Writes and seals the memfd. The descriptors of `options` must keep their numbers until [`Launcher::execute`].
    pub fn new(options: &Options<'_>) -> Result<Launcher> {
        let outcome = options.outcome.map_or(-1, |fd| fd.as_raw_fd());
        let procfs = options.label.map_or(-1, |label| label.procfs.as_fd().as_raw_fd());
        let file = memory::executable_file(c"launcher")?;
        files::write_fd(&file, &image(options, outcome, procfs))?;
        seal(&file)?;
        Ok(Launcher { file, inherited: [outcome, procfs] })
    }

    /// Becomes the program; comes back only when the launcher itself cannot be run. When the program
    /// cannot be run the process ends with 127 (ENOENT) or 126.
    pub fn execute(&self, path: &CStr, arguments: &[CString], environment: &[CString]) -> Error {
        for descriptor in self.inherited.into_iter().filter(|fd| *fd >= 0) {
            // SAFETY: F_SETFD takes a number; the caller keeps this descriptor open, and a closed one is only EBADF.
            unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) };
        }
        let mut strings = vec![path.as_ptr()];
        strings.extend(pointers(arguments));
        let environment: Vec<_> = pointers(environment).collect();
        let fd = self.file.as_raw_fd();
        // SAFETY: both lists end in a null pointer and point to strings that live until the call is over.
        let returned = unsafe {
            libc::syscall(
                libc::SYS_execveat,
                fd,
                c"".as_ptr(),
                strings.as_ptr(),
                environment.as_ptr(),
                libc::AT_EMPTY_PATH,
            )
        };
        let first = checked(returned).asked(|| "execveat launcher".to_owned());
        // A seccomp filter from before 3.19's execveat: the same file by another name, where /proc is mounted.
        let name = CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
        // SAFETY: as above.
        unsafe { libc::execve(name.as_ptr(), strings.as_ptr(), environment.as_ptr()) };
        first.err().unwrap_or(Error { call: "execveat launcher".to_owned(), errno: Errno(libc::EINVAL) })
    }
}

/// Nobody changes the file any more, not even through /proc/PID/exe.
pub(super) fn seal(file: &OwnedFd) -> Result<()> {
    const F_SEAL_EXEC: libc::c_int = 0x20;
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    let add = |seals: libc::c_int| {
        // SAFETY: F_ADD_SEALS takes a number, and the descriptor is open.
        let returned = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) };
        checked(returned.into())
    };
    // KERNEL(6.3): F_SEAL_EXEC.
    add(seals | F_SEAL_EXEC).or_else(|_| add(seals)).asked(|| "fcntl F_ADD_SEALS launcher".to_owned())?;
    Ok(())
}

/// The whole file.
fn image(options: &Options<'_>, outcome: RawFd, procfs: RawFd) -> Vec<u8> {
    let (file, text) = options.label.map_or((c"", c""), |label| (label.file, label.text));
    let code = code();
    let mut tail = Vec::with_capacity(64);
    let names = file.to_bytes_with_nul();
    let numbers = [outcome, procfs, (TABLE + names.len()) as i32, text.to_bytes().len() as i32];
    numbers.iter().for_each(|number| tail.extend(number.to_le_bytes()));
    tail.extend(names);
    tail.extend(text.to_bytes());
    // The table is the end of the code: four numbers of four bytes.
    let code = code.get(..code.len().saturating_sub(TABLE)).unwrap_or_default();
    let mut image = elf_header(HEADER + code.len() + tail.len());
    image.extend(code);
    image.extend(tail);
    image
}

const HEADER: usize = 64 + 2 * 56;
const TABLE: usize = 16;

/// Elf64_Ehdr and two Elf64_Phdr (elf(5)); the code begins right after them.
fn elf_header(length: usize) -> Vec<u8> {
    /// Aligned for pages of 64 KiB, which arm64 may have, and above every usual vm.mmap_min_addr.
    const BASE: u64 = 0x40_0000;
    const ALIGNMENT: u64 = 0x1_0000;
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let mut header = Vec::with_capacity(length);
    header.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    header.extend(2u16.to_le_bytes()); // ET_EXEC
    header.extend(machine.to_le_bytes());
    header.extend(1u32.to_le_bytes()); // EV_CURRENT
    header.extend((BASE + HEADER as u64).to_le_bytes()); // entry
    header.extend(64u64.to_le_bytes()); // program headers
    header.extend(0u64.to_le_bytes()); // no sections
    header.extend(0u32.to_le_bytes()); // flags
    [64u16, 56, 2, 0, 0, 0].iter().for_each(|half| header.extend(half.to_le_bytes()));
    let length = length as u64;
    let mut program = |kind: u32, flags: u32, numbers: [u64; 6]| {
        header.extend(kind.to_le_bytes());
        header.extend(flags.to_le_bytes());
        numbers.iter().for_each(|number| header.extend(number.to_le_bytes()));
    };
    program(1, 5, [0, BASE, BASE, length, length, ALIGNMENT]); // PT_LOAD, read and execute
    program(0x6474_e551, 6, [0, 0, 0, 0, 0, 16]); // PT_GNU_STACK, read and write
    header
}

fn code() -> &'static [u8] {
    unsafe extern "C" {
        static ocicat_launcher_begin: u8;
        static ocicat_launcher_end: u8;
    }
    let begin = &raw const ocicat_launcher_begin;
    let length = (&raw const ocicat_launcher_end as usize).saturating_sub(begin as usize);
    // SAFETY: both symbols are of one read-only section of this executable, in this order, with only bytes between them.
    unsafe { std::slice::from_raw_parts(begin, length) }
}

// Registers: r12 the table, r14d the bit that tells a failure of the label, r13 the kept result. At the entry the stack
// holds argc, argv, a zero, and the environment (x86-64 psABI, "Process Initialization").
#[cfg(target_arch = "x86_64")]
global_asm!(
    r#"
    .pushsection .rodata.ocicat_launcher, "a", @progbits
    .p2align 4
    .globl ocicat_launcher_begin
    .globl ocicat_launcher_end
ocicat_launcher_begin:
    lea r12, [rip + 9f]
    mov r14d, 0x10000
    mov edi, dword ptr [r12 + 4]
    test edi, edi
    js 2f
    mov eax, 257                    /* openat(procfs, file, O_WRONLY|O_CLOEXEC) */
    lea rsi, [r12 + 16]
    mov edx, 0x80001
    xor r10d, r10d
    syscall
    test eax, eax
    js 5f
    mov edi, eax                    /* write(file, text, length) */
    mov eax, dword ptr [r12 + 8]
    lea rsi, [r12 + rax]
    mov edx, dword ptr [r12 + 12]
    mov eax, 1
    syscall
    test eax, eax
    js 5f
    mov eax, 3                      /* close(procfs) */
    mov edi, dword ptr [r12 + 4]
    syscall
2:
    xor r14d, r14d
    mov edi, dword ptr [r12]
    test edi, edi
    js 3f
    mov eax, 72                     /* fcntl(outcome, F_SETFD, FD_CLOEXEC) */
    mov esi, 2
    mov edx, 1
    syscall
3:
    mov rcx, qword ptr [rsp]        /* execve(argv[0], argv + 1, environment) */
    mov rdi, qword ptr [rsp + 8]
    lea rsi, [rsp + 16]
    lea rdx, [rsp + rcx * 8 + 16]
    mov eax, 59
    syscall
5:
    neg eax
    mov r13d, eax
    or eax, r14d
    push rax
    mov edi, dword ptr [r12]        /* write(outcome, errno, 4) */
    mov rsi, rsp
    mov edx, 4
    mov eax, 1
    syscall
    mov edi, 126                    /* exit_group(errno == ENOENT ? 127 : 126) */
    cmp r13d, 2
    jne 6f
    mov edi, 127
6:
    mov eax, 231
    syscall
    ud2
    .p2align 3
9:
    .long -1, -1, 0, 0
ocicat_launcher_end:
    .popsection
"#
);

// The same for arm64: x19 the table, w20 the bit of the label, w21 the kept result.
#[cfg(target_arch = "aarch64")]
global_asm!(
    r#"
    .pushsection .rodata.ocicat_launcher, "a", @progbits
    .p2align 4
    .globl ocicat_launcher_begin
    .globl ocicat_launcher_end
ocicat_launcher_begin:
    adr x19, 9f
    mov w20, #0x10000
    ldr w0, [x19, #4]
    tbnz w0, #31, 2f
    sxtw x0, w0                     /* openat(procfs, file, O_WRONLY|O_CLOEXEC) */
    add x1, x19, #16
    mov w2, #0x0001
    movk w2, #0x8, lsl #16
    mov x3, xzr
    mov x8, #56
    svc #0
    tbnz x0, #63, 5f
    ldr w1, [x19, #8]               /* write(file, text, length) */
    add x1, x19, x1
    ldr w2, [x19, #12]
    mov x8, #64
    svc #0
    tbnz x0, #63, 5f
    ldr w0, [x19, #4]               /* close(procfs) */
    mov x8, #57
    svc #0
2:
    mov w20, wzr
    ldr w0, [x19]
    tbnz w0, #31, 3f
    mov x1, #2                      /* fcntl(outcome, F_SETFD, FD_CLOEXEC) */
    mov x2, #1
    mov x8, #25
    svc #0
3:
    ldr x3, [sp]                    /* execve(argv[0], argv + 1, environment) */
    ldr x0, [sp, #8]
    add x1, sp, #16
    add x2, x1, x3, lsl #3
    mov x8, #221
    svc #0
5:
    neg w21, w0
    orr w0, w21, w20
    str w0, [sp, #-16]!
    ldrsw x0, [x19]                 /* write(outcome, errno, 4) */
    mov x1, sp
    mov x2, #4
    mov x8, #64
    svc #0
    mov w0, #126                    /* exit_group(errno == ENOENT ? 127 : 126) */
    mov w1, #127
    cmp w21, #2
    csel w0, w1, w0, eq
    mov x8, #94
    svc #0
    brk #1
    .p2align 3
9:
    .word -1, -1, 0, 0
ocicat_launcher_end:
    .popsection
"#
);

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the launcher has to be written for this architecture");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{forked, pidfd};
    use rustix::pipe::{PipeFlags, pipe_with};

    fn strings(list: &[&str]) -> Vec<CString> {
        list.iter().map(|s| CString::new(*s).unwrap()).collect()
    }

    /// Starts a launcher in a child: its pid, what the program prints, what the outcome pipe says.
    fn start(path: &str, arguments: &[&str], environment: &[&str]) -> (i32, OwnedFd, OwnedFd) {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (said, outcome) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let path = CString::new(path).unwrap();
        let (arguments, environment) = (strings(arguments), strings(environment));
        let pid = forked::start(|| {
            rustix::stdio::dup2_stdout(&write).unwrap();
            crate::sys::descriptors::close_on_exec_from(3).unwrap();
            let launcher = Launcher::new(&Options { label: None, outcome: Some(outcome.as_fd()) }).unwrap();
            launcher.execute(&path, &arguments, &environment).to_string()
        });
        (pid, read, said)
    }

    fn launch(path: &str, arguments: &[&str], environment: &[&str]) -> (i32, String, Vec<u8>) {
        let (pid, read, said) = start(path, arguments, environment);
        let text = files::read_fd(&read, 1 << 20).unwrap();
        let said = files::read_fd(&said, 16).unwrap();
        (forked::wait(pid), String::from_utf8(text).unwrap(), said)
    }

    #[test]
    fn the_program_gets_its_own_arguments_and_environment() {
        let (code, text, said) = launch("/bin/sh", &["sh", "-c", "echo $0 $1 $A; exit 7", "zero", "one"], &["A=b c"]);
        assert_eq!((code, text.as_str(), said.as_slice()), (7, "zero one b c\n", &b""[..]));
    }

    #[test]
    fn a_program_gets_no_descriptor_of_the_launcher() {
        let (_, text, said) = launch("/bin/ls", &["ls", "/proc/self/fd"], &[]);
        assert_eq!((text.as_str(), said.len()), ("0\n1\n2\n3\n", 0), "the streams, and the directory that ls opens");
    }

    #[test]
    fn a_script_that_names_proc_self_exe_sees_the_memfd_and_not_this_binary() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file.as_file(), b"#!/proc/self/exe\n").unwrap();
        rustix::fs::fchmod(file.as_file(), rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        let path = file.into_temp_path();
        let (pid, _, said) = start(path.to_str().unwrap(), &["x"], &[]);
        // The launcher is its own interpreter now and executes the script again, and so on: the loop is the image's own.
        assert_eq!(files::read_fd(&said, 16).unwrap(), b"", "the outcome closes with the first execve");
        let link = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        pidfd::send_signal(pidfd::open(pid).unwrap(), libc::SIGKILL).unwrap();
        assert_eq!((link.to_str().unwrap(), forked::wait(pid)), ("/memfd:launcher (deleted)", 137));
    }

    #[test]
    fn a_failed_execve_is_told_by_its_errno() {
        for (path, code, errno) in
            [("/no/such", 127, libc::ENOENT), ("/etc/passwd", 126, libc::EACCES), ("/", 126, libc::EACCES)]
        {
            let (ended, _, said) = launch(path, &["x"], &[]);
            assert_eq!((ended, outcome(&said)), (code, Some(Outcome::Execute(Errno(errno)))), "{path}");
        }
    }

    #[test]
    fn the_image_is_small_and_sealed() {
        let launcher = Launcher::new(&Options::default()).unwrap();
        let status = rustix::fs::fstat(&launcher.file).unwrap();
        assert!(status.st_size < 512, "{}", status.st_size);
        assert!(rustix::io::write(&launcher.file, b"x").is_err());
        assert!(rustix::fs::ftruncate(&launcher.file, 0).is_err());
    }
}
