//! A directory of this machine as a tree, with everything that stat(2) and xattr(7) know of it.

use rustix::fs::{AtFlags, CWD, StatxFlags};
use spelunk_tree::{
    Attr, Cursor, Device, Entry, Error, Kind, Listed, Name, NodeId, Page, Place, Result, Run, StreamInfo,
    Time, Tree, TreeInfo, Xattr, Xattrs, push_run,
};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub struct DirTree {
    info: TreeInfo,
    root: NodeId,
    paths: Mutex<HashMap<NodeId, PathBuf>>,
    names: Mutex<HashMap<NodeId, Arc<Vec<Name>>>>,
}

impl DirTree {
    pub fn new(root: &Path) -> DirTree {
        let (node, _) = stat(root).unwrap();
        DirTree {
            info: info("dir"),
            root: node,
            paths: Mutex::new(HashMap::from([(node, root.to_owned())])),
            names: Mutex::default(),
        }
    }

    fn path(&self, node: NodeId) -> Result<PathBuf> {
        self.paths.lock().unwrap().get(&node).cloned().ok_or_else(|| Error::not_found("no such node"))
    }

    fn names(&self, dir: NodeId) -> Result<Arc<Vec<Name>>> {
        if let Some(names) = self.names.lock().unwrap().get(&dir) {
            return Ok(Arc::clone(names));
        }
        let listing = std::fs::read_dir(self.path(dir)?).map_err(io)?;
        let mut names: Vec<Name> =
            listing.map(|entry| Name::new(entry.unwrap().file_name().as_bytes()).unwrap()).collect();
        names.sort();
        let names = Arc::new(names);
        self.names.lock().unwrap().insert(dir, Arc::clone(&names));
        Ok(names)
    }
}

pub fn info(filesystem: &str) -> TreeInfo {
    TreeInfo {
        size_bytes: 1000 * 4096,
        free_bytes: Some(300 * 4096),
        nodes: Some(77),
        free_nodes: Some(33),
        ..TreeInfo::new(filesystem)
    }
}

fn io(error: impl Into<std::io::Error>) -> Error {
    Error::from_io("test", &error.into())
}

fn stat(path: &Path) -> Result<(NodeId, Attr)> {
    let flags = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, flags).map_err(io)?;
    let time = |at: rustix::fs::StatxTimestamp| Some(Time::new(at.tv_sec, at.tv_nsec).unwrap());
    let kind = match u32::from(stat.stx_mode) & 0o170_000 {
        0o100_000 => Kind::File,
        0o040_000 => Kind::Directory,
        0o120_000 => Kind::Symlink,
        0o010_000 => Kind::Fifo,
        0o140_000 => Kind::Socket,
        0o020_000 => Kind::CharDevice,
        _ => Kind::BlockDevice,
    };
    let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    let attr = Attr {
        size: stat.stx_size,
        allocated: Some(stat.stx_blocks * 512),
        links: Some(stat.stx_nlink),
        mode: Some(u32::from(stat.stx_mode) & 0o7777),
        uid: Some(stat.stx_uid),
        gid: Some(stat.stx_gid),
        device: is_device.then_some(Device { major: stat.stx_rdev_major, minor: stat.stx_rdev_minor }),
        modified: time(stat.stx_mtime),
        accessed: time(stat.stx_atime),
        changed: time(stat.stx_ctime),
        created: time(stat.stx_btime),
        xattrs: Xattrs::Maybe,
        ..Attr::new(kind)
    };
    Ok((NodeId::new(stat.stx_ino)?, attr))
}

impl Tree for DirTree {
    fn info(&self) -> &TreeInfo {
        &self.info
    }

    fn root(&self) -> NodeId {
        self.root
    }

    fn lookup(&self, dir: NodeId, name: &Name) -> Result<Entry> {
        let path = self.path(dir)?.join(OsStr::from_bytes(name.as_bytes()));
        let (node, attr) = stat(&path)?;
        self.paths.lock().unwrap().insert(node, path);
        Ok(Entry { name: name.clone(), node, attr })
    }

    fn list(&self, dir: NodeId, cursor: Cursor, max: usize) -> Result<Page> {
        let names = self.names(dir)?;
        let first = usize::try_from(cursor.0).unwrap().min(names.len());
        let end = (first + max).min(names.len());
        let mut entries = Vec::new();
        for index in first..end {
            let next = Cursor(index as u64 + 1);
            entries.push(Listed::Entry { entry: self.lookup(dir, &names[index])?, next });
        }
        Ok(Page { entries, next: (end < names.len()).then_some(Cursor(end as u64)) })
    }

    fn attr(&self, node: NodeId) -> Result<Attr> {
        Ok(stat(&self.path(node)?)?.1)
    }

    fn read(&self, node: NodeId, _: Option<&Name>, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let file = File::open(self.path(node)?).map_err(io)?;
        let mut done = 0;
        while done < buffer.len() {
            match file.read_at(&mut buffer[done..], offset + done as u64).map_err(io)? {
                0 => break,
                read => done += read,
            }
        }
        Ok(done)
    }

    fn runs(&self, node: NodeId, _: Option<&Name>, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        let file = File::open(self.path(node)?).map_err(io)?;
        let end = offset + len;
        let mut place = offset;
        while place < end {
            let data = match rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(place)) {
                Ok(data) => data.min(end),
                Err(rustix::io::Errno::NXIO) => end,
                Err(error) => return Err(io(error)),
            };
            push_run(runs, Run { len: data - place, place: Place::Zero });
            if data == end {
                break;
            }
            let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(data)).map_err(io)?.min(end);
            push_run(runs, Run { len: hole - data, place: Place::At { source: 0, offset: data } });
            place = hole;
        }
        Ok(())
    }

    fn link_target(&self, node: NodeId) -> Result<Vec<u8>> {
        let target = std::fs::read_link(self.path(node)?).map_err(io)?;
        Ok(target.into_os_string().as_bytes().to_vec())
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        let path = self.path(node)?;
        let mut names = vec![0; 65536];
        let length = rustix::fs::llistxattr(&path, &mut names[..]).map_err(io)?;
        let mut xattrs = Vec::new();
        for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(&path, name, &mut value[..]).map_err(io)?;
            value.truncate(length);
            xattrs.push(Xattr::new(name, value)?);
        }
        Ok(xattrs)
    }

    fn streams(&self, _: NodeId) -> Result<Vec<StreamInfo>> {
        Ok(Vec::new())
    }
}
