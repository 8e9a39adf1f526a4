//! Entering namespaces by path: opened and checked by the parent, entered by whoever the plan says.

use super::plan::{Join, Kind, Plan};
use super::time;
use crate::sys::{clone, files};
use anyhow::{Context, Result, bail};
use rustix::fs::OFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The namespaces of a plan, open.
#[derive(Debug, Default)]
pub struct Opened {
    borrow: Vec<(Join, OwnedFd)>,
    join: Vec<(Join, OwnedFd)>,
}

impl Plan {
    /// Opens every namespace that is joined and checks that it is of the kind that config.json says.
    pub fn open(&self) -> Result<Opened> {
        Ok(Opened { borrow: open_all(&self.borrow)?, join: open_all(&self.join)? })
    }
}

fn open_all(joins: &[Join]) -> Result<Vec<(Join, OwnedFd)>> {
    joins.iter().map(|join| Ok((join.clone(), open(join).with_context(|| place(join))?))).collect()
}

fn place(join: &Join) -> String {
    format!("linux.namespaces[{}] ({} {})", join.index, join.kind.word(), join.path.display())
}

fn open(join: &Join) -> Result<OwnedFd> {
    // The path may name anything: a fifo would make us wait for its writer.
    let fd = files::open(&join.path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    match clone::namespace_kind(&fd) {
        Ok(kind) if kind == join.kind.flag() => Ok(fd),
        Ok(kind) => {
            let is =
                Kind::words().find(|word| Kind::from_word(word).is_some_and(|k| k.flag() == kind)).unwrap_or("other");
            bail!("this is a {is} namespace")
        }
        Err(_) => bail!("this is no namespace: invalid argument (EINVAL)"),
    }
}

/// Namespaces that this process has entered for its child; [`Borrowed::give_back`] returns to its own.
#[derive(Debug, Default)]
#[must_use = "the runtime must return to its own namespaces"]
pub struct Borrowed {
    own: Vec<(Kind, OwnedFd)>,
}

impl Opened {
    /// Enters, for the next clone only, what the plan lets the parent enter, and makes a new time namespace.
    pub fn borrow(&self, plan: &Plan) -> Result<Borrowed> {
        let mut borrowed = Borrowed::default();
        for (join, fd) in &self.borrow {
            borrowed.remember(join.kind)?;
            clone::setns(fd, join.kind.flag()).with_context(|| place(join))?;
        }
        if plan.makes(Kind::Time) && !plan.time_at_execve {
            borrowed.remember(Kind::Time)?;
            time::make(&plan.offsets)?;
        }
        Ok(borrowed)
    }

    /// Every namespace that is joined, by whomever.
    pub fn all(&self) -> impl Iterator<Item = (Kind, BorrowedFd<'_>)> {
        self.borrow.iter().chain(&self.join).map(|(join, fd)| (join.kind, fd.as_fd()))
    }

    /// The user namespace that is joined.
    pub fn user(&self) -> Option<BorrowedFd<'_>> {
        self.join.iter().find(|(join, _)| join.kind == Kind::User).map(|(_, fd)| fd.as_fd())
    }

    /// Enters, as the child or its helper, every namespace but the mount namespace.
    pub fn join(&self) -> Result<()> {
        self.enter(|kind| kind != Kind::Mount)
    }

    /// Enters the mount namespace, if one is joined: paths of the host are gone afterwards.
    pub fn join_mount(&self) -> Result<()> {
        self.enter(|kind| kind == Kind::Mount)
    }

    fn enter(&self, wanted: impl Fn(Kind) -> bool) -> Result<()> {
        for (join, fd) in self.join.iter().filter(|(join, _)| wanted(join.kind)) {
            clone::setns(fd.as_fd(), join.kind.flag()).with_context(|| place(join))?;
        }
        Ok(())
    }
}

impl Borrowed {
    fn remember(&mut self, kind: Kind) -> Result<()> {
        let name = match kind {
            Kind::Network => "net",
            other => other.word(),
        };
        let own = files::open(format!("/proc/self/ns/{name}"), OFlags::RDONLY)?;
        self.own.push((kind, own));
        Ok(())
    }

    /// Returns to the runtime's own namespaces.
    pub fn give_back(self) -> Result<()> {
        for (kind, own) in self.own.iter().rev() {
            clone::setns(own, kind.flag()).context("return to the runtime's own namespace")?;
        }
        Ok(())
    }
}
