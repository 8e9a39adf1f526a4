//! systemd, asked to start, change and stop the unit of a container.

use super::dbus::{self, Connection, Message, Refusal, Target};
use super::unit::{Unit, Value};
use crate::sys::Errno;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use zbus::{OwnedObjectPath, OwnedVariant, Variant};

/// How long systemd may take for a job.
const PATIENCE: Duration = Duration::from_secs(30);

const MANAGER: Target<'static> = Target {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};

/// Whose systemd has the unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// The system's.
    #[default]
    System,
    /// The one of the calling user.
    User,
}

impl Bus {
    /// Sockets in the order in which they are tried: systemd's own, then the message bus.
    fn sockets(self) -> Vec<(PathBuf, bool)> {
        match self {
            Bus::System => {
                let bus = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok().and_then(|address| unix_path(&address));
                let bus = bus.unwrap_or_else(|| PathBuf::from("/run/dbus/system_bus_socket"));
                vec![(PathBuf::from("/run/systemd/private"), false), (bus, true)]
            }
            Bus::User => {
                let uid = rustix::process::geteuid().as_raw();
                let runtime = std::env::var("XDG_RUNTIME_DIR").ok().filter(|directory| !directory.is_empty());
                let runtime = runtime.map_or_else(|| PathBuf::from(format!("/run/user/{uid}")), PathBuf::from);
                let bus = std::env::var("DBUS_SESSION_BUS_ADDRESS").ok().and_then(|address| unix_path(&address));
                vec![(runtime.join("systemd/private"), false), (bus.unwrap_or_else(|| runtime.join("bus")), true)]
            }
        }
    }

    /// Connects to systemd.
    fn connect(self) -> Result<Connection> {
        let mut reasons = Vec::new();
        for (socket, is_bus) in self.sockets() {
            match Connection::open(&socket, is_bus, dbus::PATIENCE) {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    reasons.push(format!("{error:#}"));
                    // It is there and does not answer: by another way it would not either.
                    if crate::sys::errno_of(&error) == Some(Errno(libc::ETIMEDOUT)) {
                        break;
                    }
                }
            }
        }
        let hint = match self {
            Bus::System => "is systemd running here, and may this user talk to it",
            Bus::User => "a user's systemd needs a session: loginctl enable-linger, and XDG_RUNTIME_DIR set",
        };
        anyhow::bail!("systemd cannot be reached: {}; hint: {hint}", reasons.join("; "))
    }
}

/// The path in `unix:path=/run/x,guid=...` (D-Bus specification, "Server Addresses").
fn unix_path(address: &str) -> Option<PathBuf> {
    let unix = address.split(';').find_map(|one| one.strip_prefix("unix:"))?;
    unix.split(',').find_map(|pair| pair.strip_prefix("path=")).map(PathBuf::from)
}

impl Value {
    fn variant(&self) -> Variant<'_> {
        match self {
            Value::Bool(value) => Variant::from(*value),
            Value::I32(value) => Variant::from(*value),
            Value::U32(value) => Variant::from(*value),
            Value::I64(value) => Variant::from(*value),
            Value::U64(value) => Variant::from(*value),
            Value::Text(value) => Variant::from(value.as_str()),
            Value::Bytes(value) => Variant::from(value.clone()),
            Value::Texts(value) => Variant::from(value.clone()),
            Value::Pairs(value) => Variant::from(value.clone()),
        }
    }
}

fn variants(properties: &[(String, Value)]) -> Vec<(&str, Variant<'_>)> {
    properties.iter().map(|(name, value)| (name.as_str(), value.variant())).collect()
}

fn refusal(error: &anyhow::Error) -> Option<&Refusal> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

fn refused_as(error: &anyhow::Error, name: &str) -> bool {
    refusal(error).is_some_and(|refusal| refusal.name.ends_with(name))
}

/// Starts the unit with the process `pid` in it, and waits until systemd has done it.
pub(super) fn start(bus: Bus, unit: &Unit, pid: u32) -> Result<()> {
    let mut connection = bus.connect()?;
    // Without it systemd tells nobody when a job is done.
    if let Err(error) = connection.call(MANAGER, "Subscribe", &()) {
        anyhow::ensure!(refused_as(&error, "AlreadySubscribed"), error);
    }
    let mut properties = unit.properties.clone();
    let mut reset = false;
    loop {
        let mut all = variants(&properties);
        all.push(("PIDs", Variant::from(vec![pid])));
        let auxiliary: Vec<(&str, Vec<(&str, Variant)>)> = Vec::new();
        let body = (unit.name.as_str(), "fail", all, auxiliary);
        match connection.call(MANAGER, "StartTransientUnit", &body) {
            Ok(answer) => {
                // A job that hangs may be done later: the unit must not come to be then.
                return wait_for_job(&mut connection, &answer, &unit.name).inspect_err(|_| drop(stop(bus, &unit.name)));
            }
            Err(error) if refused_as(&error, ".UnitExists") && !reset => {
                // A failed unit of a former container keeps its name until it is forgotten.
                reset = true;
                let _ = connection.call(MANAGER, "ResetFailedUnit", &(unit.name.as_str()));
            }
            Err(error) => match unknown_to_this_systemd(&error, &properties, &unit.annotated) {
                Some(index) => drop(properties.remove(index)),
                None => return Err(error).with_context(|| format!("systemd does not start {}", unit.name)),
            },
        }
    }
}

/// The property that an older systemd does not know, or not with this value; those that make the unit ours must be known.
/// What the files say anyway can be left out with either; what an annotation asked for (`asked`) only when systemd does
/// not know the name (it answers PropertyReadOnly): a wrong value there is its author's mistake and must be told.
fn unknown_to_this_systemd(error: &anyhow::Error, properties: &[(String, Value)], asked: &[String]) -> Option<usize> {
    const NEEDED: &[&str] = &["Slice", "Delegate", "DevicePolicy", "DeviceAllow"];
    let refusal = refusal(error)?;
    let named = |name: &str| refusal.text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == name);
    let unknown = refusal.name.ends_with(".PropertyReadOnly");
    properties
        .iter()
        .position(|(name, _)| !NEEDED.contains(&name.as_str()) && named(name) && (unknown || !asked.contains(name)))
}

/// Waits for the signal that tells how a job ended.
fn wait_for_job(connection: &mut Connection, answer: &Message, unit: &str) -> Result<()> {
    let job: OwnedObjectPath = answer.body()?;
    let ended = |message: &Message| {
        let (_, path, _, result): (u32, OwnedObjectPath, String, String) = message.body().ok()?;
        (path == job).then_some(result)
    };
    let result = connection.signal("JobRemoved", Instant::now() + PATIENCE, ended).with_context(|| {
        format!("systemd has accepted a job for {unit} but not done it after {} s", PATIENCE.as_secs())
    })?;
    anyhow::ensure!(result == "done", "the job of systemd for {unit} ended as {result:?}; hint: journalctl -u {unit}");
    Ok(())
}

/// Changes properties of a unit that runs; they are forgotten with it.
pub(super) fn change(bus: Bus, unit: &str, properties: &[(String, Value)]) -> Result<()> {
    if properties.is_empty() {
        return Ok(());
    }
    let mut connection = bus.connect()?;
    let mut properties = properties.to_vec();
    loop {
        match connection.call(MANAGER, "SetUnitProperties", &(unit, true, variants(&properties))) {
            Ok(_) => return Ok(()),
            Err(error) => match unknown_to_this_systemd(&error, &properties, &[]) {
                Some(index) => drop(properties.remove(index)),
                None => return Err(error).with_context(|| format!("systemd does not change {unit}")),
            },
        }
        if properties.is_empty() {
            return Ok(());
        }
    }
}

/// Stops a unit and waits until it is gone. One that is gone already is no error.
pub(super) fn stop(bus: Bus, unit: &str) -> Result<()> {
    let mut connection = bus.connect()?;
    if let Err(error) = connection.call(MANAGER, "Subscribe", &()) {
        anyhow::ensure!(refused_as(&error, "AlreadySubscribed"), error);
    }
    match connection.call(MANAGER, "StopUnit", &(unit, "replace")) {
        Ok(answer) => wait_for_job(&mut connection, &answer, unit)?,
        Err(error) if refused_as(&error, ".NoSuchUnit") => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("systemd does not stop {unit}")),
    }
    // A unit that ended with an error stays known as failed, and its name with it.
    let _ = connection.call(MANAGER, "ResetFailedUnit", &(unit));
    Ok(())
}

/// Where systemd has put a scope: its ControlGroup property, a path below the mount point.
pub(super) fn control_group(bus: Bus, unit: &str) -> Result<String> {
    let mut connection = bus.connect()?;
    let path: OwnedObjectPath = connection.call(MANAGER, "GetUnit", &(unit))?.body()?;
    let properties = Target { path: path.as_str(), interface: "org.freedesktop.DBus.Properties", ..MANAGER };
    let asked = ("org.freedesktop.systemd1.Scope", "ControlGroup");
    let value: OwnedVariant = connection.call(properties, "Get", &asked)?.body()?;
    let value: &Variant = &value;
    match value {
        Variant::Str(text) => Ok(text.as_str().to_owned()),
        _ => anyhow::bail!("the property ControlGroup of {unit} is no text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_does_not_know_is_left_out_and_a_wrong_value_of_an_annotation_is_told() {
        let properties: Vec<_> = ["Slice", "CPUWeight", "KillMode"].map(|n| (n.to_owned(), Value::Bool(true))).into();
        let asked = ["KillMode".to_owned()];
        for (name, text, expected) in [
            ("PropertyReadOnly", "Cannot set property CPUWeight, or unknown property.", Some(1)),
            ("PropertyReadOnly", "Cannot set property KillMode, or unknown property.", Some(2)),
            ("PropertyReadOnly", "Cannot set property Slice, or unknown property.", None),
            ("InvalidArgs", "CPUWeight= value out of range", Some(1)),
            ("InvalidArgs", "Invalid KillMode setting: sideways", None),
            ("AccessDenied", "Permission denied", None),
        ] {
            let name = format!("org.freedesktop.DBus.Error.{name}");
            let error = anyhow::Error::new(Refusal { name, text: text.to_owned() });
            assert_eq!(unknown_to_this_systemd(&error, &properties, &asked), expected, "{text}");
        }
    }

    #[test]
    fn the_path_of_a_bus_address_is_found() {
        for (address, expected) in [
            ("unix:path=/run/user/1000/bus", Some("/run/user/1000/bus")),
            ("unix:guid=5,path=/x,other=1", Some("/x")),
            ("tcp:host=a;unix:path=/y", Some("/y")),
            ("unix:abstract=/z", None),
        ] {
            assert_eq!(super::unix_path(address), expected.map(Into::into), "{address}");
        }
    }
}
