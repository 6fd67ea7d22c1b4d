//! Headers: POSIX ustar, and before it the records of PAX for what ustar cannot hold.

use super::acl;
use crate::archive::members::Member;
use spelunk_tree::{Attr, Kind, Time, Xattr};

/// Everything in a tar archive comes in blocks of this size.
const BLOCK: usize = 512;
/// A block of zeros: padding, and twice the end of an archive.
pub const ZEROS: [u8; BLOCK] = [0; BLOCK];

const NAME_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;
/// What an octal field of 7 and of 11 digits can hold.
const OCTAL_7_MAX: u64 = 0o7_777_777;
const OCTAL_11_MAX: u64 = 0o77_777_777_777;

/// Zeros behind so many bytes of data.
pub fn padding(len: u64) -> usize {
    let rest = usize::try_from(len % BLOCK as u64).unwrap_or(0);
    (BLOCK - rest) % BLOCK
}

/// The headers of a member, as they are made.
pub struct Header<'a> {
    /// In the archive; of a directory with a slash behind it.
    name: Vec<u8>,
    target: &'a [u8],
    kind: u8,
    attr: &'a Attr,
    /// Bytes of data behind the header.
    size: u64,
    records: Vec<u8>,
    is_sparse: bool,
}

impl<'a> Header<'a> {
    /// The headers of a member, or of one more name of the member `link`.
    pub fn new(member: &'a Member, link: Option<&'a [u8]>) -> Header<'a> {
        let attr = &member.attr;
        let kind = match (link, attr.kind) {
            (Some(_), _) => b'1',
            (None, Kind::File) => b'0',
            (None, Kind::Symlink) => b'2',
            (None, Kind::CharDevice) => b'3',
            (None, Kind::BlockDevice) => b'4',
            (None, Kind::Directory) => b'5',
            (None, Kind::Fifo | Kind::Socket) => b'6',
        };
        let mut name = member.name.clone();
        if kind == b'5' {
            name.push(b'/');
        }
        let size = if kind == b'0' { attr.size } else { 0 };
        let target = link.unwrap_or(&member.target);
        let mut header = Header { name, target, kind, attr, size, records: Vec::new(), is_sparse: false };
        header.times();
        header
    }

    /// Times that ustar, with its seconds, cannot hold.
    fn times(&mut self) {
        if let Some(modified) = self.attr.modified
            && (modified.nanoseconds() != 0 || octal_seconds(modified).is_none())
        {
            self.record(b"mtime", decimal(modified).as_bytes());
        }
        for (key, time) in [("atime", self.attr.accessed), ("ctime", self.attr.changed)] {
            if let Some(time) = time {
                self.record(key.as_bytes(), decimal(time).as_bytes());
            }
        }
    }

    /// Adds extended attributes; ACLs as text.
    pub fn xattrs(&mut self, xattrs: &[Xattr]) {
        for xattr in xattrs {
            let acl = match xattr.name() {
                b"system.posix_acl_access" => Some("SCHILY.acl.access"),
                b"system.posix_acl_default" => Some("SCHILY.acl.default"),
                _ => None,
            };
            if let Some((key, text)) = acl.zip(acl::text(xattr.value())) {
                self.record(key.as_bytes(), text.as_bytes());
                continue;
            }
            let mut key = b"SCHILY.xattr.".to_vec();
            for &byte in xattr.name() {
                match byte {
                    // A key ends at the first '='. GNU tar reads these two escapes.
                    b'=' => key.extend_from_slice(b"%3D"),
                    b'%' => key.extend_from_slice(b"%25"),
                    _ => key.push(byte),
                }
            }
            self.record(&key, xattr.value());
        }
    }

    /// Says that the file has holes: it has `real` bytes, and `stored` follow, the map included.
    pub fn sparse(&mut self, real: u64, stored: u64) {
        self.record(b"GNU.sparse.major", b"1");
        self.record(b"GNU.sparse.minor", b"0");
        let name = self.name.clone();
        self.record(b"GNU.sparse.name", &name);
        self.record(b"GNU.sparse.realsize", real.to_string().as_bytes());
        // Under this name it is found where these records are not understood.
        let at = name.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let (directory, base) = name.split_at(at);
        self.name = [directory, b"GNUSparseFile.0/", base].concat();
        self.size = stored;
        self.is_sparse = true;
    }

    /// A record: its own length, a key, a value.
    fn record(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + " =\n".len();
        let mut len = rest + 1;
        while len != rest + digits(len) {
            len = rest + digits(len);
        }
        self.records.extend_from_slice(format!("{len} ").as_bytes());
        self.records.extend_from_slice(key);
        self.records.push(b'=');
        self.records.extend_from_slice(value);
        self.records.push(b'\n');
    }

    /// The headers as blocks.
    pub fn into_bytes(mut self) -> Vec<u8> {
        let name = self.name.clone();
        let parts = split(&name);
        let mut is_binary = false;
        if parts.is_none() && !self.is_sparse {
            is_binary |= std::str::from_utf8(&name).is_err();
            self.record(b"path", &name);
        }
        if self.target.len() > NAME_BYTES {
            is_binary |= std::str::from_utf8(self.target).is_err();
            self.record(b"linkpath", self.target);
        }
        if self.size > OCTAL_11_MAX {
            self.record(b"size", self.size.to_string().as_bytes());
        }
        for (key, id) in [("uid", self.attr.uid), ("gid", self.attr.gid)] {
            if let Some(id) = id.filter(|&id| u64::from(id) > OCTAL_7_MAX) {
                self.record(key.as_bytes(), id.to_string().as_bytes());
            }
        }
        let mut out = Vec::with_capacity(3 * BLOCK + self.records.len());
        if is_binary {
            // Names are UTF-8 otherwise.
            let records = std::mem::take(&mut self.records);
            self.record(b"hdrcharset", b"BINARY");
            self.records.extend_from_slice(&records);
        }
        if !self.records.is_empty() {
            let base = name.rsplit(|&byte| byte == b'/').find(|part| !part.is_empty());
            let own = [&b"PaxHeaders/"[..], base.unwrap_or_default()].concat();
            let own = own.get(..NAME_BYTES).unwrap_or(&own);
            let len = u64::try_from(self.records.len()).unwrap_or(u64::MAX);
            out.extend_from_slice(&block(&Fields { name: own, size: len, kind: b'x', ..Fields::default() }));
            out.extend_from_slice(&self.records);
            out.resize(out.len() + padding(len), 0);
        }
        let (prefix, rest) = parts.unwrap_or((b"", name.get(..NAME_BYTES).unwrap_or(&name)));
        out.extend_from_slice(&block(&self.fields(prefix, rest)));
        out
    }

    fn fields<'f>(&'f self, prefix: &'f [u8], name: &'f [u8]) -> Fields<'f> {
        let attr = self.attr;
        let usual = if self.kind == b'5' {
            0o755
        } else if self.kind == b'2' {
            0o777
        } else {
            0o644
        };
        let fits = |id: Option<u32>| id.map(u64::from).filter(|&id| id <= OCTAL_7_MAX).unwrap_or(0);
        let device = attr.device.filter(|_| matches!(self.kind, b'3' | b'4'));
        Fields {
            name,
            prefix,
            mode: u64::from(attr.mode.unwrap_or(usual) & 0o7777),
            uid: fits(attr.uid),
            gid: fits(attr.gid),
            size: if self.size > OCTAL_11_MAX { 0 } else { self.size },
            modified: attr.modified.and_then(octal_seconds).unwrap_or(0),
            kind: self.kind,
            target: self.target.get(..NAME_BYTES).unwrap_or(self.target),
            device: device.map_or((0, 0), |device| (device.major, device.minor)),
        }
    }
}

/// The fields of a ustar header.
#[derive(Default)]
struct Fields<'a> {
    name: &'a [u8],
    prefix: &'a [u8],
    mode: u64,
    uid: u64,
    gid: u64,
    size: u64,
    modified: u64,
    kind: u8,
    target: &'a [u8],
    device: (u32, u32),
}

fn block(fields: &Fields<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(BLOCK);
    let mut put = |bytes: &[u8], width: usize| {
        out.extend_from_slice(bytes);
        out.resize(out.len() + width - bytes.len(), 0);
    };
    put(fields.name, NAME_BYTES);
    put(&octal(fields.mode, 7), 8);
    put(&octal(fields.uid, 7), 8);
    put(&octal(fields.gid, 7), 8);
    put(&octal(fields.size, 11), 12);
    put(&octal(fields.modified, 11), 12);
    // The checksum counts as spaces in itself.
    put(b"        ", 8);
    put(&[fields.kind], 1);
    put(fields.target, NAME_BYTES);
    put(b"ustar\x0000", 8);
    // The names of user and group: the guest's numbers say more.
    put(b"", 64);
    put(&octal(u64::from(fields.device.0), 7), 8);
    put(&octal(u64::from(fields.device.1), 7), 8);
    put(fields.prefix, PREFIX_BYTES);
    put(b"", 12);
    let sum: u64 = out.iter().map(|&byte| u64::from(byte)).sum();
    let sum = [&octal(sum, 6)[..], b"\0 "].concat();
    if let Some(field) = out.get_mut(148..156) {
        field.copy_from_slice(&sum);
    }
    out
}

/// A number of so many octal digits; one that has more stands in a record, and its lowest here.
fn octal(value: u64, digits: usize) -> Vec<u8> {
    let text = format!("{value:0digits$o}").into_bytes();
    text.get(text.len().saturating_sub(digits)..).unwrap_or_default().to_vec()
}

/// A name as prefix and rest, or `None` when ustar cannot hold it.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME_BYTES {
        return Some((b"", name));
    }
    let slash = (1..name.len() - 1)
        .filter(|&at| name.get(at) == Some(&b'/'))
        .find(|&at| at <= PREFIX_BYTES && name.len() - at - 1 <= NAME_BYTES)?;
    Some((name.get(..slash)?, name.get(slash + 1..)?))
}

fn octal_seconds(time: Time) -> Option<u64> {
    u64::try_from(time.seconds()).ok().filter(|&seconds| seconds <= OCTAL_11_MAX)
}

/// Seconds since 1970 with nine digits behind the point.
fn decimal(time: Time) -> String {
    let (seconds, nanoseconds) = (time.seconds(), time.nanoseconds());
    if seconds < 0 && nanoseconds > 0 {
        return format!("-{}.{:09}", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds);
    }
    format!("{seconds}.{nanoseconds:09}")
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_are_written_as_one_number() {
        let text = |seconds, nanoseconds| decimal(Time::new(seconds, nanoseconds).unwrap());

        assert_eq!(text(1, 5), "1.000000005");
        assert_eq!(text(-1, 500_000_000), "-0.500000000");
        assert_eq!(text(-2, 1), "-1.999999999");
        assert_eq!(text(-2, 0), "-2.000000000");
    }

    #[test]
    fn numbers_that_no_octal_field_holds_are_written_as_records() {
        let records = |size: u64, id: u32| {
            let attr = Attr { uid: Some(id), gid: Some(id), ..Attr::new(Kind::File) };
            let name = b"x".to_vec();
            let header = Header {
                name,
                target: b"",
                kind: b'0',
                attr: &attr,
                size,
                records: Vec::new(),
                is_sparse: false,
            };
            String::from_utf8_lossy(&header.into_bytes()).into_owned()
        };
        let (id, large_id) = (u32::try_from(OCTAL_7_MAX).unwrap(), u32::try_from(OCTAL_7_MAX + 1).unwrap());

        assert!(!records(OCTAL_11_MAX, id).contains("size="));
        assert!(!records(OCTAL_11_MAX, id).contains("uid="));
        assert!(records(OCTAL_11_MAX + 1, id).contains(&format!(" size={}\n", OCTAL_11_MAX + 1)));
        assert!(records(0, large_id).contains(&format!(" uid={large_id}\n")));
        assert!(records(0, large_id).contains(&format!(" gid={large_id}\n")));
    }

    #[test]
    fn long_names_are_split_at_a_slash_where_they_can_be() {
        let long = [&[b'a'; 120][..], b"/", &[b'b'; 90]].concat();

        assert_eq!(split(&long).map(|(prefix, name)| (prefix.len(), name.len())), Some((120, 90)));
        assert_eq!(split(&[b'a'; 101]), None);
        assert_eq!(split(&[&[b'a'; 160][..], b"/b"].concat()), None);
    }

    #[test]
    fn records_count_their_own_length() {
        let attr = Attr::new(Kind::File);
        let mut header = Header {
            name: b"x".to_vec(),
            target: b"",
            kind: b'0',
            attr: &attr,
            size: 0,
            records: Vec::new(),
            is_sparse: false,
        };
        for len in 0..200 {
            header.records.clear();
            header.record(b"k", &vec![b'v'; len]);
            let text = String::from_utf8(header.records.clone()).unwrap();
            assert_eq!(text.split(' ').next().unwrap().parse(), Ok(text.len()));
        }
    }

    #[test]
    fn block_has_the_checksum_that_others_compute() {
        let block = block(&Fields { name: b"x", size: 5, kind: b'0', ..Fields::default() });

        let others: u32 = block
            .iter()
            .enumerate()
            .map(|(at, &b)| if (148..156).contains(&at) { 32 } else { u32::from(b) })
            .sum();

        assert_eq!(block.len(), BLOCK);
        assert_eq!(block[148..156], *format!("{others:06o}\0 ").as_bytes());
    }
}
