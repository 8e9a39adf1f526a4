//! The messages `criu_req` and `criu_resp`.

use super::options::Options;
use super::wire::{Message, fields};
use anyhow::Result;

/// What is asked for, and answered (`criu_req_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "criu's words")]
pub(in crate::container) enum Kind {
    Dump,
    Restore,
    PreDump,
    Notify,
    FeatureCheck,
}

impl Kind {
    const NUMBERS: [(Kind, i32, &'static str); 5] = [
        (Kind::Dump, 1, "dump"),
        (Kind::Restore, 2, "restore"),
        (Kind::PreDump, 4, "pre-dump"),
        (Kind::Notify, 6, "notify"),
        (Kind::FeatureCheck, 9, "feature check"),
    ];

    fn number(self) -> i32 {
        Self::NUMBERS.iter().find(|row| row.0 == self).map_or(0, |row| row.1)
    }

    /// As criu's command line calls it.
    pub(in crate::container) fn word(self) -> &'static str {
        Self::NUMBERS.iter().find(|row| row.0 == self).map_or("", |row| row.2)
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::container) enum Request {
    /// Do this, with these options.
    Do(Kind, Options),
    /// A notification was acted on, or could not be.
    Notified(bool),
    /// Which of these can be done here?
    Features(Features),
}

/// What not every kernel can (`criu_features`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::container) struct Features {
    /// Telling which pages changed: pre-dump.
    pub(in crate::container) memory_tracking: bool,
    /// userfaultfd(2): lazy pages.
    pub(in crate::container) lazy_pages: bool,
}

impl Request {
    /// What kind of answer belongs to it.
    pub(in crate::container) fn kind(&self) -> Kind {
        match self {
            Request::Do(kind, _) => *kind,
            Request::Notified(_) => Kind::Notify,
            Request::Features(_) => Kind::FeatureCheck,
        }
    }

    /// Encodes it.
    pub(super) fn message(&self) -> Message {
        let mut message = Message::default();
        message.number(1, i64::from(self.kind().number()));
        match self {
            Request::Do(_, options) => message.bytes(2, options.message().as_bytes()),
            Request::Notified(success) => message.number(3, i64::from(*success)),
            Request::Features(wanted) => {
                let mut features = Message::default();
                for (field, wanted) in [(1, wanted.memory_tracking), (2, wanted.lazy_pages)] {
                    if wanted {
                        features.number(field, 1);
                    }
                }
                message.bytes(5, features.as_bytes());
            }
        }
        message
    }
}

/// Something happened that we may act on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::container) struct Notification {
    /// `setup-namespaces`, `post-restore` and others (criu(8), `--action-script`).
    pub(in crate::container) script: String,
    /// The container's first process, where that is known.
    pub(in crate::container) pid: i32,
}

/// A response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::container) struct Response {
    pub(super) kind: i32,
    /// It went well.
    pub(in crate::container) success: bool,
    /// What happened, when this is no answer yet.
    pub(super) notification: Option<Notification>,
    /// The first process of what was restored.
    pub(in crate::container) restored: Option<i32>,
    /// errno(3), where criu has one.
    pub(in crate::container) errno: Option<i32>,
    /// What can be done here.
    pub(in crate::container) features: Features,
    /// The first words of the log.
    pub(in crate::container) words: String,
}

impl Response {
    /// Reads one.
    ///
    /// # Errors
    /// These bytes are no message.
    pub(super) fn read(bytes: &[u8]) -> Result<Response> {
        let mut response = Response::default();
        for (number, value) in fields(bytes)? {
            match number {
                1 => response.kind = value.as_i32(),
                2 => response.success = value.as_i32() != 0,
                4 => response.restored = value.fields()?.iter().find(|(n, _)| *n == 1).map(|(_, pid)| pid.as_i32()),
                5 => {
                    let mut notification = Notification::default();
                    for (number, value) in value.fields()? {
                        match number {
                            1 => notification.script = value.as_text(),
                            2 => notification.pid = value.as_i32(),
                            _ => {}
                        }
                    }
                    response.notification = Some(notification);
                }
                7 => response.errno = Some(value.as_i32()).filter(|errno| *errno != 0),
                8 => {
                    for (number, value) in value.fields()? {
                        match number {
                            1 => response.features.memory_tracking = value.as_i32() != 0,
                            2 => response.features.lazy_pages = value.as_i32() != 0,
                            _ => {}
                        }
                    }
                }
                9 => response.words = value.as_text(),
                _ => {}
            }
        }
        Ok(response)
    }

    /// True for the answer to a request of this kind, and not for another one or a notification.
    pub(super) fn answers(&self, kind: Kind) -> bool {
        self.kind == kind.number()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::criu::options::field;

    #[test]
    fn requests_are_encoded_with_their_kind_and_what_belongs_to_it() {
        let mut options = Options::default();
        options.set(field::PID, 7);
        let features = Features { memory_tracking: true, lazy_pages: false };
        let rows: [(Request, &[u8]); 5] = [
            (Request::Do(Kind::Dump, options.clone()), &[0x08, 1, 0x12, 2, 0x10, 7]),
            (Request::Do(Kind::PreDump, Options::default()), &[0x08, 4, 0x12, 0]),
            (Request::Notified(true), &[0x08, 6, 0x18, 1]),
            (Request::Notified(false), &[0x08, 6, 0x18, 0]),
            (Request::Features(features), &[0x08, 9, 0x2a, 2, 0x08, 1]),
        ];
        for (request, expected) in rows {
            assert_eq!(request.message().as_bytes(), expected, "{request:?}");
        }
    }

    #[test]
    fn responses_are_read_and_unknown_fields_passed_over() {
        let notification = Notification { script: "post-restore".to_owned(), pid: 300 };
        let rows: [(&[u8], Response); 4] = [
            (
                &[0x08, 2, 0x10, 1, 0x22, 3, 0x08, 0xac, 0x02, 0x58, 9],
                Response { kind: 2, success: true, restored: Some(300), ..Response::default() },
            ),
            (
                &[&[0x08, 6, 0x10, 1, 0x2a, 17, 0x0a, 12][..], b"post-restore", &[0x10, 0xac, 0x02]].concat(),
                Response { kind: 6, success: true, notification: Some(notification), ..Response::default() },
            ),
            (
                &[&[0x08, 1, 0x10, 0, 0x38, 52, 0x4a, 2][..], b"no"].concat(),
                Response { kind: 1, errno: Some(52), words: "no".to_owned(), ..Response::default() },
            ),
            (
                &[0x08, 9, 0x10, 1, 0x42, 4, 0x08, 1, 0x10, 0],
                Response {
                    kind: 9,
                    success: true,
                    features: Features { memory_tracking: true, lazy_pages: false },
                    ..Response::default()
                },
            ),
        ];
        for (bytes, expected) in rows {
            assert_eq!(Response::read(bytes).unwrap(), expected);
        }
        assert!(Response::read(&[0x08]).is_err());
    }
}
