//! A config.json to begin with: a shell with few capabilities in namespaces of its own, as `ocicat spec` writes it.

use super::{Config, IdMapping, Linux, Mount, Namespace};
use std::path::{Path, PathBuf};

impl Config {
    /// The document to begin with. On a host with cgroup2 alone the container gets a cgroup namespace too: there it may
    /// see its own cgroup's files.
    ///
    /// # Errors
    /// Never: a test reads the same text.
    pub fn starter(cgroup_namespace: bool) -> serde_json::Result<Config> {
        let mut config: Config = serde_json::from_str(include_str!("starter.json"))?;
        if let Some(linux) = config.linux.as_mut().filter(|_| cgroup_namespace) {
            linux.namespaces.push(Namespace { kind: "cgroup".to_owned(), path: None });
        }
        Ok(config)
    }

    /// Makes it fit for a user without privileges: a user namespace in which root is that user, no network namespace
    /// (nobody could connect it), /sys from the host, and no limits.
    #[must_use]
    pub fn without_privileges(mut self, uid: u32, gid: u32) -> Config {
        for mount in &mut self.mounts {
            if mount.destination == Path::new("/sys") {
                *mount = host_sys();
            }
            mount.options.retain(|option| !option.starts_with("gid=") && !option.starts_with("uid="));
        }
        let linux = self.linux.get_or_insert_with(Linux::default);
        linux.namespaces.retain(|namespace| !matches!(namespace.kind.as_str(), "network" | "user"));
        linux.namespaces.push(Namespace { kind: "user".to_owned(), path: None });
        linux.uid_mappings = vec![IdMapping { container_id: 0, host_id: uid, size: 1 }];
        linux.gid_mappings = vec![IdMapping { container_id: 0, host_id: gid, size: 1 }];
        linux.resources = None;
        self
    }
}

/// sysfs can be mounted only by who owns the network namespace, so the host's is shown.
fn host_sys() -> Mount {
    Mount {
        destination: PathBuf::from("/sys"),
        kind: Some("none".to_owned()),
        source: Some(PathBuf::from("/sys")),
        options: ["rbind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec(),
        ..Mount::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_document_of_the_file_and_nothing_is_lost() {
        let config = Config::starter(false).unwrap();
        let told = serde_json::to_value(&config).unwrap();
        let file: serde_json::Value = serde_json::from_str(include_str!("starter.json")).unwrap();
        assert_eq!(told, file);
    }

    #[test]
    fn a_cgroup_namespace_comes_with_cgroup2() {
        let kinds = |config: Config| -> Vec<String> {
            config.linux.unwrap().namespaces.into_iter().map(|namespace| namespace.kind).collect()
        };
        assert_eq!(kinds(Config::starter(true).unwrap()), ["pid", "network", "ipc", "uts", "mount", "cgroup"]);
        let rootless = Config::starter(true).unwrap().without_privileges(1000, 1001);
        assert_eq!(kinds(rootless), ["pid", "ipc", "uts", "mount", "cgroup", "user"]);
    }

    #[test]
    fn without_privileges_root_is_the_caller() {
        let config = Config::starter(false).unwrap().without_privileges(1000, 1001);
        assert!(config.mounts.iter().flat_map(|mount| &mount.options).all(|option| !option.starts_with("gid=")));
        let sys = config.mounts.iter().find(|mount| mount.destination == Path::new("/sys")).unwrap();
        assert_eq!(sys.options[0], "rbind");
        let linux = config.linux.unwrap();
        assert_eq!(linux.uid_mappings, [IdMapping { container_id: 0, host_id: 1000, size: 1 }]);
        assert_eq!(linux.gid_mappings, [IdMapping { container_id: 0, host_id: 1001, size: 1 }]);
        assert_eq!(linux.resources, None);
    }
}
