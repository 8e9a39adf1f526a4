//! Which image of an index is for a machine: operating system, architecture and variant, in Go's words.

use crate::image::manifest::{Descriptor, Index, Platform};
use anyhow::{Result, bail};
use std::fmt;
use std::str::FromStr;

impl Platform {
    /// The platform of this machine.
    pub fn of_machine() -> Platform {
        Platform { os: "linux".to_owned(), architecture: std::env::consts::ARCH.to_owned(), variant: None }.normal()
    }

    /// The one spelling of what is spelled in several ways: `x86_64` is `amd64`, `arm64` is `arm64/v8`, `arm` is `arm/v7`.
    pub fn normal(&self) -> Platform {
        let (architecture, implied) = match self.architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" | "amd64" => ("amd64".to_owned(), None),
            "aarch64" | "arm64" => ("arm64".to_owned(), Some("v8")),
            "armhf" => ("arm".to_owned(), Some("v7")),
            "armel" => ("arm".to_owned(), Some("v6")),
            "arm" => ("arm".to_owned(), Some("v7")),
            "i386" | "i686" | "x86" => ("386".to_owned(), None),
            "powerpc64" => ("ppc64le".to_owned(), None),
            "loongarch64" => ("loong64".to_owned(), None),
            other => (other.to_owned(), None),
        };
        let given = self.variant.as_deref().map(|v| v.trim_start_matches('v')).filter(|v| !v.is_empty());
        let variant = given.map(|v| format!("v{v}")).or(implied.map(str::to_owned));
        // Every amd64 machine is a v1.
        let variant = variant.filter(|v| !(architecture == "amd64" && v == "v1"));
        Platform { os: self.os.to_ascii_lowercase(), architecture, variant }
    }

    /// How well `offered` fits a machine of this platform: nothing if it would not run, more for a closer variant.
    pub(crate) fn rank_of(&self, offered: &Platform) -> Option<u32> {
        let (runs, offered) = (self.normal().runs(), offered.normal());
        let place = runs.iter().position(|platform| *platform == offered)?;
        u32::try_from(runs.len() - place).ok()
    }

    /// What a machine of this platform runs, best first: what was built for an earlier variant, then the 32-bit programs
    /// of its processor. The same as containerd's `platforms.Only`.
    fn runs(&self) -> Vec<Platform> {
        let of = |architecture: &str, variant: String| Platform {
            os: self.os.clone(),
            architecture: architecture.to_owned(),
            variant: Some(variant),
        };
        let earlier = |lowest: u32| {
            let own = self.variant.as_deref().and_then(|variant| variant.strip_prefix('v')?.parse::<u32>().ok());
            (lowest..own.unwrap_or(0)).rev().map(|level| of(&self.architecture, format!("v{level}")).normal())
        };
        let mut all = vec![self.clone()];
        match self.architecture.as_str() {
            "amd64" => {
                all.extend(earlier(1));
                all.push(Platform { architecture: "386".to_owned(), variant: None, ..self.clone() });
            }
            "arm" => all.extend(earlier(5)),
            "arm64" => {
                let variant = self.variant.as_deref().unwrap_or("v8");
                all.extend(earlier_arm64(variant).into_iter().map(|earlier| of("arm64", earlier)));
                let is_minor = variant.starts_with("v8.") || variant.starts_with("v9.");
                all.extend(of("arm", if is_minor { "v8" } else { variant }.to_owned()).runs());
            }
            _ => {}
        }
        all
    }
}

/// The variants of arm64 before one, latest first: v9.x has what v8.(x+5) has.
fn earlier_arm64(variant: &str) -> Vec<String> {
    let (major, minor) = variant.split_once('.').unwrap_or((variant, "0"));
    let (major, minor) = (major.strip_prefix('v').and_then(|n| n.parse::<u32>().ok()), minor.parse::<u32>().ok());
    let (Some(major @ 8..=9), Some(minor @ 0..=99)) = (major, minor) else { return Vec::new() };
    let spelled = |major: u32, minor: u32| if minor == 0 { format!("v{major}") } else { format!("v{major}.{minor}") };
    let below = |major: u32, minor: u32| (0..minor).rev().map(move |minor| spelled(major, minor));
    match major {
        9 => below(9, minor).chain(below(8, minor + 6)).collect(),
        _ => below(8, minor).collect(),
    }
}

impl FromStr for Platform {
    type Err = anyhow::Error;

    /// `os/architecture[/variant]`, or the architecture alone.
    fn from_str(text: &str) -> Result<Platform> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [architecture] => ("linux", *architecture, None),
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, variant] => (*os, *architecture, Some((*variant).to_owned())),
            _ => ("", "", None),
        };
        if os.is_empty() || architecture.is_empty() {
            bail!("platform {text:?} is not os/architecture or os/architecture/variant");
        }
        Ok(Platform { os: os.to_owned(), architecture: architecture.to_owned(), variant }.normal())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// The manifest of `index` that fits `wanted` best; the first one among equals.
pub fn choose<'i>(index: &'i Index, wanted: &Platform) -> Result<&'i Descriptor> {
    let mut best: Option<(u32, &Descriptor)> = None;
    for descriptor in index.manifests.iter().filter(|d| !is_attestation(d)) {
        let Some(rank) = descriptor.platform.as_ref().and_then(|offered| wanted.rank_of(offered)) else { continue };
        if best.is_none_or(|(found, _)| rank > found) {
            best = Some((rank, descriptor));
        }
    }
    if let Some((_, descriptor)) = best {
        return Ok(descriptor);
    }
    // An index of one image that names no platform (an artifact tool's, a layout's): the config will tell.
    match index.manifests.as_slice() {
        [only] if only.platform.is_none() => return Ok(only),
        _ => {}
    }
    let mut offered: Vec<String> = index
        .manifests
        .iter()
        .filter(|d| !is_attestation(d))
        .filter_map(|d| Some(d.platform.as_ref()?.to_string()))
        .collect();
    if offered.is_empty() {
        bail!("there is no image for {wanted}: the index names none for any platform");
    }
    offered.sort();
    offered.dedup();
    bail!("there is no image for {wanted}; hint: --platform with one of: {}", offered.join(" "))
}

/// What docker's build tool puts beside the images of an index.
fn is_attestation(descriptor: &Descriptor) -> bool {
    descriptor.annotation("vnd.docker.reference.type") == Some("attestation-manifest")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Digest;

    fn index(platforms: &[&str]) -> Index {
        let manifests = platforms.iter().map(|text| {
            let mut descriptor = Descriptor::new("m", Digest::of(text.as_bytes()), 1);
            let mut parts = text.split('/').map(str::to_owned);
            let (os, architecture) = (parts.next().unwrap(), parts.next().unwrap());
            descriptor.platform = Some(Platform { os, architecture, variant: parts.next() });
            descriptor
        });
        Index { schema_version: 2, media_type: None, manifests: manifests.collect(), annotations: None }
    }

    #[test]
    fn the_best_variant_that_the_machine_runs_is_chosen() {
        let all = ["linux/amd64", "linux/amd64/v3", "linux/arm/v5", "linux/arm/v7", "linux/arm64/v8", "windows/amd64"];
        for (wanted, offered, chosen) in [
            ("linux/amd64", &all[..], Some("linux/amd64")),
            ("linux/x86_64", &all, Some("linux/amd64")),
            ("linux/amd64/v3", &all, Some("linux/amd64/v3")),
            ("linux/amd64/v2", &all, Some("linux/amd64")),
            ("linux/arm/v7", &all, Some("linux/arm/v7")),
            ("linux/arm/v6", &all, Some("linux/arm/v5")),
            ("linux/arm", &all, Some("linux/arm/v7")),
            ("arm64", &all, Some("linux/arm64/v8")),
            ("linux/arm64", &["linux/arm64"], Some("linux/arm64")),
            ("linux/arm64/v8", &["linux/arm64"], Some("linux/arm64")),
            ("linux/arm64", &["linux/arm64/v9", "linux/aarch64"], Some("linux/aarch64")),
            ("linux/arm64/v9", &["linux/arm64/v8", "linux/arm64/v8.5", "linux/arm64/v8.6"], Some("linux/arm64/v8.5")),
            ("linux/arm64/v9.1", &["linux/arm64/v8.6", "linux/arm64/v9"], Some("linux/arm64/v9")),
            ("linux/arm64/v8.2", &["linux/arm64", "linux/arm64/v8.1", "linux/arm64/v8.3"], Some("linux/arm64/v8.1")),
            ("linux/arm64/v8.2", &["linux/arm64/v8.3", "linux/arm64/v9"], None),
            ("linux/arm64", &["linux/arm/v6", "linux/arm/v7", "linux/arm/v8"], Some("linux/arm/v8")),
            ("linux/arm64", &["linux/arm/v6", "linux/arm"], Some("linux/arm")),
            ("linux/arm/v7", &["linux/arm/v6", "linux/arm/v5"], Some("linux/arm/v6")),
            ("linux/arm/v6", &["linux/arm/v7", "linux/arm/v8"], None),
            ("linux/arm/v8", &["linux/arm64", "linux/arm/v7"], Some("linux/arm/v7")),
            ("linux/arm/v5", &["linux/arm/v6", "linux/arm"], None),
            ("linux/amd64", &["linux/386", "linux/amd64"], Some("linux/amd64")),
            ("linux/amd64/v3", &["linux/386", "linux/amd64/v2", "linux/amd64/v4"], Some("linux/amd64/v2")),
            ("linux/amd64/v3", &["linux/386", "linux/amd64/v1"], Some("linux/amd64/v1")),
            ("linux/amd64", &["linux/386", "linux/arm64"], Some("linux/386")),
            ("linux/386", &["linux/amd64"], None),
            ("windows/amd64", &["linux/amd64", "linux/386"], None),
            ("linux/amd64", &["unknown/unknown", "linux/amd64"], Some("linux/amd64")),
            ("linux/amd64", &["linux/amd64/v2"], None),
            ("linux/riscv64", &all, None),
        ] {
            let index = index(offered);
            let found = choose(&index, &wanted.parse().unwrap());
            let found = found.ok().map(|d| offered.iter().find(|o| Digest::of(o.as_bytes()) == d.digest).unwrap());
            assert_eq!(found.copied(), chosen, "{wanted} of {offered:?}");
        }
    }

    #[test]
    fn what_there_is_is_named_when_nothing_fits() {
        let error = choose(&index(&["linux/s390x", "linux/arm/v7"]), &"linux/amd64".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no image for linux/amd64; hint: --platform with one of: linux/arm/v7 linux/s390x"
        );
    }
}
