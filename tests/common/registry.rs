//! docker-registry on loopback, and commands that must succeed or fail.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// docker-registry on a port of its own; its access log tells what was asked.
pub struct Registry {
    child: Child,
    /// HOST:PORT on loopback.
    pub address: String,
    /// Lines of its access log.
    pub log: Arc<Mutex<Vec<String>>>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts an image with this config and these layers into a store, without a name; answers its manifest.
#[cfg(feature = "image")]
pub fn put_image(
    store: &ocicat::image::store::Store,
    config: &super::Value,
    layers: &[ocicat::image::manifest::Descriptor],
) -> ocicat::image::manifest::Descriptor {
    use ocicat::image::manifest::{Descriptor, media};
    let config = serde_json::to_vec(config).unwrap();
    store.put(&config).unwrap();
    let manifest = super::json!({"schemaVersion": 2, "mediaType": media::MANIFEST,
        "config": Descriptor::of(media::CONFIG, &config), "layers": layers});
    let manifest = serde_json::to_vec(&manifest).unwrap();
    store.put(&manifest).unwrap();
    Descriptor::of(media::MANIFEST, &manifest)
}

/// Whether all these programs are on the path.
pub fn have(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    programs.iter().all(|program| std::env::split_paths(&path).any(|directory| directory.join(program).exists()))
}

impl Registry {
    /// Starts one with more lines of configuration, and waits until it says that it listens.
    pub fn start(directory: &Path, more: &str) -> Registry {
        // A port that was free a moment ago may be somebody else's now.
        (0..5).find_map(|_| Registry::try_start(directory, more)).expect("docker-registry does not listen")
    }

    fn try_start(directory: &Path, more: &str) -> Option<Registry> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let storage = directory.join("registry");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: {address}\n{more}",
            storage.display()
        );
        let file = directory.join("registry.yml");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&file).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let access = Arc::clone(&log);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok).filter(|line| line.contains("HTTP/")) {
                access.lock().unwrap().push(line);
            }
        });
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        if !stderr.any(|line| line.contains("listening on")) {
            let _ = child.wait();
            return None;
        }
        std::thread::spawn(move || stderr.for_each(drop));
        Some(Registry { child, address, log })
    }
}

/// Runs a command that must succeed; its output.
pub fn ok(command: &mut Command) -> String {
    let out = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{command:?}: {said}");
    String::from_utf8(out.stdout).unwrap()
}

/// Runs a command that must fail; what it says.
pub fn fails(command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert!(!out.status.success(), "{command:?} should have failed");
    String::from_utf8(out.stderr).unwrap()
}

/// A proxy that connects everybody to `target`; what it was asked, without the words of the programs.
pub fn proxy(target: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(client.try_clone().unwrap());
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let line = line.trim_end();
                if line.is_empty() {
                    break;
                }
                if line.starts_with("CONNECT ") || line.to_lowercase().starts_with("proxy-authorization:") {
                    log.lock().unwrap().push(line.to_lowercase());
                }
            }
            (&client).write_all(b"HTTP/1.1 200 connected\r\n\r\n").unwrap();
            let server = TcpStream::connect(&target).unwrap();
            let (mut back, mut from) = (client, server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut back));
            std::thread::spawn(move || std::io::copy(&mut reader, &mut &server));
        }
    });
    (address, asked)
}
