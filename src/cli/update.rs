//! `ocicat update`: change the limits of a running container.

use super::arguments::Given;
use super::command::{Command, Flag, Positionals};
use super::{Ended, Invocation};
use crate::config::{BlockIo, Cpu, Memory, Pids, Resources};
use crate::container::Update;
use anyhow::{Result, anyhow};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "update",
    about: "Changes the resource limits of a container",
    details: "What is not mentioned stays as it is. Sizes are in bytes and take the suffixes k, m, g and t; -1 is no limit. With \
              --resources the limits are a JSON object as linux.resources of config.json, and other options are ignored.",
    positionals: Positionals::ID,
    flags: &[
        Flag::value("resources", "FILE", "JSON file with the limits, or - for standard input").short('r'),
        Flag::value("blkio-weight", "N", "block I/O weight, 10 to 1000"),
        Flag::value("cpu-period", "USEC", "CPU period of the quota in microseconds"),
        Flag::value("cpu-quota", "USEC", "CPU time per period in microseconds"),
        Flag::value("cpu-burst", "USEC", "CPU time above the quota that may be saved up, in microseconds"),
        Flag::value("cpu-share", "N", "CPU shares: weight against other containers"),
        Flag::value("cpu-rt-period", "USEC", "realtime period in microseconds"),
        Flag::value("cpu-rt-runtime", "USEC", "realtime CPU time per period in microseconds"),
        Flag::value("cpu-idle", "0|1", "1 runs the container only when nothing else wants the CPU"),
        Flag::value("cpuset-cpus", "LIST", "CPUs to use"),
        Flag::value("cpuset-mems", "LIST", "memory nodes to use"),
        Flag::value("kernel-memory", "SIZE", "kernel memory (ignored: the kernel has no such limit any more)").hidden(),
        Flag::value("kernel-memory-tcp", "SIZE", "memory of TCP buffers").hidden(),
        Flag::value("memory", "SIZE", "memory limit"),
        Flag::value("memory-reservation", "SIZE", "memory that is taken back last"),
        Flag::value("memory-swap", "SIZE", "limit of memory and swap together"),
        Flag::value("pids-limit", "N", "number of processes and threads; -1 is no limit"),
        Flag::value("l3-cache-schema", "SCHEMA", "Intel RDT cache allocation"),
        Flag::value("mem-bw-schema", "SCHEMA", "Intel RDT memory bandwidth"),
    ],
    examples: &[
        ("update --memory 512m --pids-limit 100 web", "set two limits of the container `web`"),
        ("update --resources - web", "read the limits from standard input"),
    ],
    failure: 1,
    run,
};

fn run(invocation: &Invocation) -> Result<Ended> {
    let request = request(&invocation.given)?;
    let notes = crate::container::update(&invocation.runtime()?, &request)?;
    for note in notes {
        super::log::debug(&invocation.globals, || note);
    }
    Ok(Ended::Done)
}

fn request(given: &Given) -> Result<Update> {
    Ok(Update {
        id: given.argument(0).to_owned(),
        resources_file: given.owned("resources"),
        resources: resources(given)?,
        l3_cache_schema: given.owned("l3-cache-schema"),
        mem_bw_schema: given.owned("mem-bw-schema"),
    })
}

fn resources(given: &Given) -> Result<Resources> {
    let cpu = Cpu {
        shares: given.number("cpu-share")?,
        quota: given.number("cpu-quota")?,
        burst: given.number("cpu-burst")?,
        period: given.number("cpu-period")?,
        realtime_runtime: given.number("cpu-rt-runtime")?,
        realtime_period: given.number("cpu-rt-period")?,
        cpus: given.owned("cpuset-cpus"),
        mems: given.owned("cpuset-mems"),
        idle: given.number("cpu-idle")?,
    };
    let memory = Memory {
        limit: size(given, "memory")?,
        reservation: size(given, "memory-reservation")?,
        swap: size(given, "memory-swap")?,
        kernel: size(given, "kernel-memory")?,
        kernel_tcp: size(given, "kernel-memory-tcp")?,
        ..Memory::default()
    };
    let block_io = BlockIo { weight: given.number("blkio-weight")?, ..BlockIo::default() };
    let pids = Pids { limit: given.number("pids-limit")? };
    Ok(Resources {
        cpu: unless_empty(cpu),
        memory: unless_empty(memory),
        block_io: unless_empty(block_io),
        pids: unless_empty(pids),
        ..Resources::default()
    })
}

fn unless_empty<T: Default + PartialEq>(value: T) -> Option<T> {
    Some(value).filter(|v| *v != T::default())
}

/// A size in bytes with one of the suffixes of 1024, as Docker's RAMInBytes reads it: `512m`, `1.5GiB`, `-1`.
fn size(given: &Given, long: &str) -> Result<Option<i64>> {
    let Some(text) = given.value(long).filter(|v| !v.is_empty()) else { return Ok(None) };
    let wrong = || anyhow!("invalid value {text:?} for flag -{long}: must be a size like 512m, or -1");
    let lower = text.to_ascii_lowercase();
    let amount = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let power = amount.chars().last().and_then(|c| "kmgtp".find(c)).map(|at| at as i32 + 1);
    let Some(power) = power else { return amount.trim_end().parse().map(Some).map_err(|_| wrong()) };
    let digits = amount.get(..amount.len() - 1).unwrap_or_default().trim_end();
    let amount: f64 = digits.parse().map_err(|_| wrong())?;
    let bytes = amount * 1024_f64.powi(power);
    if !(0.0..9.2e18).contains(&bytes) { Err(wrong()) } else { Ok(Some(bytes as i64)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments;

    fn of(line: &str) -> Result<Update> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        request(&arguments::command(&COMMAND, &words)?)
    }

    #[test]
    fn the_options_become_resources() {
        let table = [
            ("--memory 512m web", r#"{"memory":{"limit":536870912}}"#),
            ("--memory 1.5GiB --memory-swap -1 web", r#"{"memory":{"limit":1610612736,"swap":-1}}"#),
            ("--memory-reservation 4096 web", r#"{"memory":{"reservation":4096}}"#),
            ("--cpu-quota 5000 --cpu-period=10000 web", r#"{"cpu":{"quota":5000,"period":10000}}"#),
            ("--cpu-share 512 --cpu-burst 1 --cpu-idle 1 web", r#"{"cpu":{"shares":512,"burst":1,"idle":1}}"#),
            ("--cpu-rt-period 3 --cpu-rt-runtime 2 web", r#"{"cpu":{"realtimeRuntime":2,"realtimePeriod":3}}"#),
            ("--cpuset-cpus 0-3,7 --cpuset-mems 0 web", r#"{"cpu":{"cpus":"0-3,7","mems":"0"}}"#),
            ("--pids-limit -1 web", r#"{"pids":{"limit":-1}}"#),
            ("--pids-limit 0 web", r#"{"pids":{"limit":0}}"#),
            ("--blkio-weight 500 web", r#"{"blockIO":{"weight":500}}"#),
            ("web", "{}"),
        ];
        for (line, json) in table {
            assert_eq!(serde_json::to_string(&of(line).unwrap().resources).unwrap(), json, "{line}");
        }
    }

    #[test]
    fn the_file_of_resources_may_be_standard_input() {
        for line in ["--resources - web", "--resources=- web", "-r - web"] {
            assert_eq!(of(line).unwrap().resources_file.as_deref(), Some(std::path::Path::new("-")), "{line}");
        }
    }

    #[test]
    fn wrong_numbers_are_refused() {
        let size = |text| format!("invalid value {text:?} for flag -memory: must be a size like 512m, or -1");
        let number = |flag, text| format!("invalid value {text:?} for flag -{flag}: not a number of the right size");
        for (line, expected) in [
            ("--memory lots web", size("lots")),
            ("--memory abc web", size("abc")),
            ("--memory 9em web", size("9em")),
            ("--memory -2m web", size("-2m")),
            ("--pids-limit many web", number("pids-limit", "many")),
            ("--cpu-share -1 web", number("cpu-share", "-1")),
        ] {
            assert_eq!(of(line).unwrap_err().to_string(), expected, "{line}");
        }
    }
}
