//! `linux.memoryPolicy`: where the container's memory comes from on a NUMA machine (set_mempolicy(2)).

use crate::config::MemoryPolicy;
use crate::process::scheduling::number_list;
use crate::sys;
use anyhow::{Context, Result, bail};

/// Mode, flags and nodes as the kernel numbers them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// MPOL_* with the MPOL_F_* bits.
    pub mode: u32,
    /// One bit for each node.
    pub nodes: Vec<u64>,
    /// The words of config.json, for showing.
    pub words: String,
}

/// include/uapi/linux/mempolicy.h, by number.
const MODES: [&str; 7] = [
    "MPOL_DEFAULT",
    "MPOL_PREFERRED",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
];

const FLAGS: [(&str, u32); 3] =
    [("MPOL_F_NUMA_BALANCING", 1 << 13), ("MPOL_F_RELATIVE_NODES", 1 << 14), ("MPOL_F_STATIC_NODES", 1 << 15)];

/// Words of `mode`, for `features`.
pub fn modes() -> Vec<&'static str> {
    MODES.to_vec()
}

/// Words of `flags`, for `features`.
pub fn flags() -> Vec<&'static str> {
    FLAGS.iter().map(|(word, _)| *word).collect()
}

/// Words to numbers; what does not fit together is left to the kernel, which knows its nodes.
pub fn plan(asked: &MemoryPolicy) -> Result<Plan> {
    let Some(mode) = MODES.iter().position(|word| *word == asked.mode) else {
        bail!("linux.memoryPolicy.mode: unknown mode {:?}", asked.mode);
    };
    let mut mode = mode as u32;
    for (index, flag) in asked.flags.iter().enumerate() {
        let Some((_, bit)) = FLAGS.iter().find(|(word, _)| word == flag) else {
            bail!("linux.memoryPolicy.flags[{index}]: unknown flag {flag:?}");
        };
        mode |= bit;
    }
    let nodes = match asked.nodes.trim() {
        "" => Vec::new(),
        list => number_list(list).context("linux.memoryPolicy.nodes")?,
    };
    let mut words = vec![asked.mode.as_str()];
    words.extend(asked.flags.iter().map(String::as_str));
    if !asked.nodes.is_empty() {
        words.push(asked.nodes.as_str());
    }
    Ok(Plan { mode, nodes, words: words.join(" ") })
}

/// Sets it for the calling process; execve keeps it.
pub fn apply(plan: &Plan) -> Result<()> {
    sys::scheduling::set_memory_policy(plan.mode, &plan.nodes, plan.nodes.len() * 64).context("linux.memoryPolicy")
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "memory policy {}", self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_the_kernels_numbers() {
        let rows = [
            (r#"{"mode": "MPOL_DEFAULT"}"#, "0x0 []"),
            (r#"{"mode": "MPOL_BIND", "nodes": "0-1"}"#, "0x2 [3]"),
            (r#"{"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}"#, "0x8002 [1]"),
            (r#"{"mode": "MPOL_X"}"#, "linux.memoryPolicy.mode: unknown mode \"MPOL_X\""),
            (r#"{"mode": "MPOL_BIND", "flags": ["F"]}"#, "linux.memoryPolicy.flags[0]: unknown flag \"F\""),
            (
                r#"{"mode": "MPOL_BIND", "nodes": "x"}"#,
                "linux.memoryPolicy.nodes: \"x\" is no list of numbers like 0-3,7",
            ),
        ];
        for (json, expected) in rows {
            let shown = match plan(&serde_json::from_str(json).unwrap()) {
                Ok(plan) => format!("{:#x} {:?}", plan.mode, plan.nodes),
                Err(error) => format!("{error:#}"),
            };
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn a_policy_is_set_where_the_kernel_has_them() {
        let said = crate::sys::forked::in_child(|| {
            let bind = plan(&serde_json::from_str(r#"{"mode": "MPOL_BIND", "nodes": "0"}"#).unwrap()).unwrap();
            match apply(&bind) {
                Ok(()) => Ok(std::fs::read_to_string("/proc/self/numa_maps").unwrap_or_default()),
                // CONFIG_NUMA=n
                Err(error) if crate::sys::errno_of(&error).is_some_and(|e| e.0 == libc::ENOSYS) => {
                    Ok("bind:0".to_owned())
                }
                Err(error) => Err(format!("{error:#}")),
            }
        });
        assert!(said.unwrap().contains("bind:0"));
    }
}
