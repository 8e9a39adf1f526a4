//! What a user asks of a container besides what its image says: the options of `run` and `bundle`.

use super::super::arguments::Given;
use super::super::command::Flag;
use crate::config::{IdMapping, Mount};
use crate::image::bundle::{Network, Options, Rootfs, SeccompChoice};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// The options.
pub(super) const CONTAINER: &[Flag] = &[
    Flag::switch("pull", "ask the registry even if the image is here"),
    Flag::switch("overlay", "the root filesystem is an overlay mount upon the shared layers (the default)"),
    Flag::switch("copy", "the root filesystem is a plain tree"),
    Flag::value("env", "NAME[=VALUE]", "an environment variable (repeatable)").short('e').repeated(),
    Flag::value("user", "USER[:GROUP]", "names or numbers instead of the image's").short('u'),
    Flag::value("workdir", "DIR", "where the program starts").short('w'),
    Flag::value("entrypoint", "PROGRAM", "instead of the image's entrypoint; empty: none"),
    Flag::value("hostname", "NAME", "the container's host name"),
    Flag::value("mount", "type=T,src=S,dst=D[,ro]", "a mount (repeatable)").repeated(),
    Flag::value("volume", "SOURCE:TARGET[:OPTIONS]", "a bind mount (repeatable)").short('v').repeated(),
    Flag::switch("read-only", "the root filesystem cannot be written"),
    Flag::switch("tty", "a terminal, even if standard input is none").short('t'),
    Flag::switch("no-tty", "no terminal, even if standard input is one"),
    Flag::switch("interactive", "accepted: standard input is always connected").short('i').hidden(),
    Flag::value("memory", "BYTES", "memory limit: 512m, 2g").short('m'),
    Flag::value("cpus", "N", "cores: 1.5"),
    Flag::value("pids", "N", "processes"),
    Flag::value("userns", "HOST[:SIZE]", "a user namespace whose root is this id of the host"),
    Flag::value("network", "private|host", "a network of its own with a loopback device, or the host's"),
    Flag::value("seccomp", "PROFILE", "default, unconfined, or a file"),
    Flag::value("cap-add", "CAPABILITY", "one more (repeatable)").repeated(),
    Flag::value("cap-drop", "CAPABILITY", "one less (repeatable)").repeated(),
];

/// Overlay or copy.
pub(super) fn rootfs(given: &Given) -> Result<Rootfs> {
    match (given.is("copy"), given.is("overlay")) {
        (true, true) => bail!("--copy and --overlay exclude each other"),
        (true, false) => Ok(Rootfs::Copy),
        _ => Ok(Rootfs::Overlay),
    }
}

/// The wishes; `command` replaces the image's.
pub(super) fn options(given: &Given, command: &[String]) -> Result<Options> {
    let mut mounts = Vec::new();
    for text in given.all("mount") {
        mounts.push(mount(&text).with_context(|| format!("--mount {text}"))?);
    }
    for text in given.all("volume") {
        mounts.push(volume(&text).with_context(|| format!("--volume {text}"))?);
    }
    Ok(Options {
        command: command.to_vec(),
        entrypoint: given.value("entrypoint").map(|e| if e.is_empty() { Vec::new() } else { vec![e.to_owned()] }),
        env: given.all("env"),
        user: given.owned("user"),
        working_directory: given.owned("workdir"),
        hostname: given.owned("hostname"),
        mounts,
        read_only: given.is("read-only"),
        terminal: given.is("tty"),
        memory: given.value("memory").map(size).transpose()?,
        cpus: given.number("cpus")?.map(cores).transpose()?,
        pids: given.number("pids")?,
        user_namespace: given.value("userns").map(mapping).transpose()?,
        network: match given.value("network") {
            None | Some("private" | "none") => Network::Private,
            Some("host") => Network::Host,
            Some(other) => bail!("--network {other:?} is neither private nor host"),
        },
        seccomp: match given.value("seccomp") {
            None | Some("default") => SeccompChoice::Default,
            Some("unconfined") => SeccompChoice::Unconfined,
            Some(file) => SeccompChoice::File(PathBuf::from(file)),
        },
        capabilities_add: given.all("cap-add"),
        capabilities_drop: given.all("cap-drop"),
    })
}

/// `512`, `512k`, `64m`, `2g` (powers of 1024, as docker reads them); -1 is no limit.
fn size(text: &str) -> Result<i64> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match lower.strip_suffix(['k', 'm', 'g']) {
        Some(digits) => (
            digits,
            if lower.ends_with('k') {
                10
            } else if lower.ends_with('m') {
                20
            } else {
                30
            },
        ),
        None => (lower, 0),
    };
    let number: i64 = digits.parse().with_context(|| format!("--memory {text:?} is no size"))?;
    number.checked_mul(1 << shift).with_context(|| format!("--memory {text:?} is too large"))
}

/// What cpu.max can say.
fn cores(count: f64) -> Result<f64> {
    if !(0.01..=1e6).contains(&count) {
        bail!("--cpus {count}: must be from 0.01 to 1000000");
    }
    Ok(count)
}

/// `HOST[:SIZE]`: ids 0 and up of the container are HOST and up outside.
fn mapping(text: &str) -> Result<(Vec<IdMapping>, Vec<IdMapping>)> {
    let (host, size) = text.split_once(':').unwrap_or((text, "65536"));
    let wrong = || format!("--userns {text:?} is not HOST or HOST:SIZE");
    let host_id: u32 = host.parse().with_context(wrong)?;
    let size: u32 = size.parse().with_context(wrong)?;
    // The last id is nobody's: user_namespaces(7).
    if size == 0 || host_id.checked_add(size).is_none() {
        bail!("--userns {text:?}: {size} ids from {host_id} on, and there are ids 0 to 4294967294");
    }
    let map = vec![IdMapping { container_id: 0, host_id, size }];
    Ok((map.clone(), map))
}

/// docker's `--mount`: `type=bind,source=/a,target=/b,readonly`.
fn mount(text: &str) -> Result<Mount> {
    let mut mount = Mount { kind: Some("bind".to_owned()), ..Mount::default() };
    for part in text.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match key {
            "type" => mount.kind = Some(value.to_owned()),
            "source" | "src" => mount.source = Some(PathBuf::from(value)),
            "target" | "dst" | "destination" => mount.destination = PathBuf::from(value),
            "readonly" | "ro" if value.is_empty() || value == "true" => mount.options.push("ro".to_owned()),
            "readonly" | "ro" => {}
            "tmpfs-size" => mount.options.push(format!("size={value}")),
            "tmpfs-mode" => mount.options.push(format!("mode={value}")),
            "bind-propagation" => mount.options.push(value.to_owned()),
            option if !option.is_empty() => mount.options.push(part.to_owned()),
            _ => bail!("an empty option"),
        }
    }
    finished(mount)
}

/// docker's `--volume`: `/a:/b[:ro]`.
fn volume(text: &str) -> Result<Mount> {
    let mut parts = text.splitn(3, ':');
    let (Some(source), Some(target)) = (parts.next(), parts.next()) else { bail!("not SOURCE:TARGET") };
    let mut mount = Mount { kind: Some("bind".to_owned()), ..Mount::default() };
    mount.source = Some(PathBuf::from(source));
    mount.destination = PathBuf::from(target);
    mount.options = parts.next().map(|o| o.split(',').map(str::to_owned).collect()).unwrap_or_default();
    finished(mount)
}

fn finished(mut mount: Mount) -> Result<Mount> {
    if !mount.destination.is_absolute() {
        bail!("the target must be an absolute path");
    }
    match mount.kind.as_deref() {
        Some("bind") => {
            let source =
                mount.source.take().filter(|s| !s.as_os_str().is_empty()).context("a bind mount needs a source")?;
            mount.source = Some(crate::sys::files::absolute(&source)?);
            if !mount.options.iter().any(|option| option == "bind" || option == "rbind") {
                mount.options.insert(0, "rbind".to_owned());
            }
        }
        Some(kind) if mount.source.is_none() => mount.source = Some(PathBuf::from(kind)),
        _ => {}
    }
    Ok(mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_as_docker_reads_them() {
        let shown = |m: Result<Mount>| match m {
            Ok(m) => format!(
                "{} {} {} {}",
                m.kind.unwrap(),
                m.source.unwrap().display(),
                m.destination.display(),
                m.options.join(",")
            ),
            Err(error) => format!("error: {error}"),
        };
        for (text, expected) in [
            ("type=bind,source=/a,target=/b,readonly", "bind /a /b rbind,ro"),
            ("src=/a,dst=/b", "bind /a /b rbind"),
            ("type=tmpfs,dst=/t,tmpfs-size=64m", "tmpfs tmpfs /t size=64m"),
            ("type=bind,src=/a,dst=/b,bind,noexec", "bind /a /b bind,noexec"),
            ("type=bind,dst=/b", "error: a bind mount needs a source"),
            ("src=/a,dst=b", "error: the target must be an absolute path"),
        ] {
            assert_eq!(shown(mount(text)), expected, "{text}");
        }
        assert_eq!(shown(volume("/a:/b:ro,z")), "bind /a /b rbind,ro,z");
        assert_eq!(shown(volume("/a")), "error: not SOURCE:TARGET");
    }

    #[test]
    fn ids_of_a_user_namespace_end_where_the_kernel_has_none() {
        for (text, said) in [
            ("100000", ""),
            ("4294901759:65536", ""),
            ("4294967290", "65536 ids from 4294967290 on"),
            ("100000:0", "0 ids from 100000 on"),
            ("1:x", "is not HOST or HOST:SIZE"),
        ] {
            let error = mapping(text).err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(said) && error.is_empty() == said.is_empty(), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, bytes) in [("512", Some(512)), ("1k", Some(1024)), ("64M", Some(64 << 20)), ("2gb", Some(2 << 30))] {
            assert_eq!(size(text).ok(), bytes, "{text}");
        }
        for wrong in ["", "x", "1t", "99999999999g"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_container_has_a_hundredth_of_a_core_at_least() {
        for (count, right) in [(0.01, true), (1.5, true), (0.0, false), (-1.0, false), (f64::NAN, false), (1e7, false)]
        {
            let said = cores(count).map_err(|error| error.to_string());
            assert!(said.is_ok() == right, "{said:?}");
            assert!(said.is_ok() || said.unwrap_err().starts_with("--cpus "), "{count}");
        }
    }
}
