//! A tar writer that can write wrong things.

/// Bytes of an archive that grows.
#[derive(Clone, Default)]
pub(crate) struct Tar(Vec<u8>);

/// One header, every field as it is to be.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: u8,
    pub(crate) mode: u32,
    pub(crate) uid: Vec<u8>,
    pub(crate) gid: Vec<u8>,
    pub(crate) size: Vec<u8>,
    pub(crate) mtime: u64,
    pub(crate) link: Vec<u8>,
    pub(crate) device: (u32, u32),
    pub(crate) checksum: Option<u32>,
}

pub(crate) fn octal(number: u64) -> Vec<u8> {
    format!("{number:07o}").into_bytes()
}

/// Base-256 in a field of twelve bytes.
pub(crate) fn base256(number: i128) -> Vec<u8> {
    let mut field = number.to_be_bytes()[4..].to_vec();
    field[0] |= 0x80;
    field
}

impl Raw {
    pub(crate) fn new(kind: u8, name: &str) -> Raw {
        Raw {
            name: name.as_bytes().to_vec(),
            kind,
            mode: if kind == b'5' { 0o755 } else { 0o644 },
            uid: octal(0),
            gid: octal(0),
            size: b"00000000000".to_vec(),
            mtime: 1_000_000_000,
            link: Vec::new(),
            device: (0, 0),
            checksum: None,
        }
    }

    fn block(&self) -> [u8; 512] {
        let mut block = [0u8; 512];
        let mut put = |at: usize, most: usize, bytes: &[u8]| {
            let length = bytes.len().min(most);
            block[at..at + length].copy_from_slice(&bytes[..length]);
        };
        put(0, 100, &self.name);
        put(100, 8, &octal(self.mode.into()));
        put(108, 8, &self.uid);
        put(116, 8, &self.gid);
        put(124, 12, &self.size);
        put(136, 12, format!("{:011o}", self.mtime).as_bytes());
        put(148, 8, b"        ");
        put(156, 1, &[self.kind]);
        put(157, 100, &self.link);
        put(257, 8, b"ustar\x0000");
        put(329, 8, &octal(self.device.0.into()));
        put(337, 8, &octal(self.device.1.into()));
        let sum = self.checksum.unwrap_or_else(|| block.iter().map(|b| u32::from(*b)).sum());
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

impl Tar {
    pub(crate) fn new() -> Tar {
        Tar::default()
    }

    /// A header and exactly these bytes after it, padded.
    pub(crate) fn raw(mut self, raw: &Raw, data: &[u8]) -> Tar {
        self.0.extend(raw.block());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn with(self, raw: Raw, data: &[u8]) -> Tar {
        let size = format!("{:011o}", data.len()).into_bytes();
        self.raw(&Raw { size, ..raw }, data)
    }

    pub(crate) fn file(self, name: &str, data: &str) -> Tar {
        self.with(Raw::new(b'0', name), data.as_bytes())
    }

    pub(crate) fn dir(self, name: &str) -> Tar {
        self.with(Raw::new(b'5', name), b"")
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Tar {
        self.with(Raw { link: target.into(), mode: 0o777, ..Raw::new(b'2', name) }, b"")
    }

    pub(crate) fn hard(self, name: &str, target: &str) -> Tar {
        self.with(Raw { link: target.into(), ..Raw::new(b'1', name) }, b"")
    }

    pub(crate) fn device(self, kind: u8, name: &str, device: (u32, u32)) -> Tar {
        self.with(Raw { device, ..Raw::new(kind, name) }, b"")
    }

    /// A PAX header for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Tar {
        let mut data = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let mut length = body + body.to_string().len();
            if length.to_string().len() != body.to_string().len() {
                length = body + length.to_string().len();
            }
            data.extend(format!("{length} {key}=").bytes());
            data.extend(*value);
            data.push(b'\n');
        }
        self.with(Raw::new(b'x', "PaxHeader"), &data)
    }

    /// The archive with its two blocks of zeros.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }

    /// The archive as it is.
    pub(crate) fn cut(self) -> Vec<u8> {
        self.0
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}
