//! What a damaged or hostile guest can do to a mount: nothing but errors where it is damaged.

use super::memory_tree::{MemoryTree, Node, directory, file, name};
use super::{Mounted, is_root, printed, shell};
use spelunk_tree::{Attr, Device, ErrorKind, Kind, Xattr, Xattrs};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

fn errno(result: std::io::Result<impl Sized>) -> rustix::io::Errno {
    let error = result.err().expect("an error");
    rustix::io::Errno::from_io_error(&error).expect("an error of the system")
}

#[test]
fn broken_entries_are_listed_with_their_siblings_and_give_their_error() {
    let mut tree = MemoryTree::new();
    tree.add("before", file(b"1"));
    tree.add_broken(Some("corrupt"), ErrorKind::Corrupt);
    tree.add_broken(None, ErrorKind::Corrupt);
    tree.add_broken(Some("unsupported"), ErrorKind::Unsupported);
    tree.add("after", file(b"2"));
    let Some(mounted) = Mounted::new(tree, "ro") else { return };

    for _ in ["cold", "warm"] {
        assert_eq!(printed(mounted.path(), "ls -f"), ".\n..\nbefore\ncorrupt\nunsupported\nafter\n");
        assert_eq!(printed(mounted.path(), "cat before after"), "12");
        let listed = shell(mounted.path(), "ls -l");
        let (lines, complaints) =
            (String::from_utf8_lossy(&listed.stdout), String::from_utf8_lossy(&listed.stderr));
        assert!(lines.contains("before") && lines.contains("after"), "{lines}");
        assert!(complaints.contains("'corrupt': Input/output error"), "{complaints}");
        assert!(complaints.contains("'unsupported': Operation not supported"), "{complaints}");
        assert_eq!(errno(fs::read(mounted.path().join("corrupt"))), rustix::io::Errno::IO);
        assert_eq!(errno(fs::symlink_metadata(mounted.path().join("corrupt"))), rustix::io::Errno::IO);
    }
}

#[test]
fn nameless_broken_entries_in_any_number_do_not_hide_what_follows() {
    let mut tree = MemoryTree::new();
    for _ in 0..5000 {
        tree.add_broken(None, ErrorKind::Corrupt);
    }
    tree.add("after", file(b""));
    let Some(mounted) = Mounted::new(tree, "ro") else { return };

    assert_eq!(printed(mounted.path(), "ls"), "after\n");
}

#[test]
fn forged_attributes_are_errors_or_shown_as_they_are() {
    let forged = |attr: Attr| Node { attr, ..file(b"") };
    let mut tree = MemoryTree::new();
    tree.add("huge", forged(Attr { size: u64::MAX, ..Attr::new(Kind::File) }));
    tree.add(
        "largest",
        forged(Attr { size: (1 << 63) - 1, allocated: Some(u64::MAX), ..Attr::new(Kind::File) }),
    );
    let device = Some(Device { major: u32::MAX, minor: u32::MAX });
    tree.add("device", forged(Attr { device, ..Attr::new(Kind::BlockDevice) }));
    tree.add("linkless", forged(Attr { links: Some(0), mode: Some(u32::MAX), ..Attr::new(Kind::Directory) }));
    tree.add("nobody", forged(Attr { uid: Some(u32::MAX), gid: Some(u32::MAX), ..Attr::new(Kind::File) }));
    let Some(mounted) = Mounted::new(tree, "ro") else { return };

    assert_eq!(printed(mounted.path(), "ls"), "device\nhuge\nlargest\nlinkless\nnobody\n");
    assert_eq!(errno(fs::metadata(mounted.path().join("huge"))), rustix::io::Errno::OVERFLOW);
    assert_eq!(errno(fs::metadata(mounted.path().join("device"))), rustix::io::Errno::OVERFLOW);
    assert_eq!(
        printed(mounted.path(), "stat -c '%s %h %a' largest linkless"),
        "9223372036854775807 1 777\n0 0 7777\n"
    );
    assert_eq!(printed(mounted.path(), "tail -c 5 largest | od -An -tx1"), " 00 00 00 00 00\n");
    assert!(shell(mounted.path(), "stat nobody").status.success());
}

#[test]
fn directories_that_form_a_loop_do_not_trap_a_walk() {
    let mut tree = MemoryTree::new();
    let outer = tree.add("outer", directory());
    let inner = tree.add_to(outer, "inner", directory());
    tree.link(inner, "back", outer);
    tree.link(inner, "root", 0);
    tree.add_to(inner, "file", file(b""));
    let Some(mounted) = Mounted::new(tree, "ro") else { return };

    let walk = shell(mounted.path(), "timeout 20 find .");

    let found = String::from_utf8_lossy(&walk.stdout);
    assert!(found.contains("./outer/inner/file"), "{found}");
    assert_ne!(walk.status.code(), Some(124), "the walk did not end");
}

#[test]
fn link_targets_are_passed_on_unless_linux_cannot_hold_them() {
    let link = |target: &[u8]| {
        let attr = Attr { size: target.len() as u64, ..Attr::new(Kind::Symlink) };
        Node { attr, ..file(target) }
    };
    let mut tree = MemoryTree::new();
    let longest = vec![b'x'; 4095];
    tree.add("longest", link(&longest));
    tree.add("too long", link(&vec![b'x'; 4096]));
    tree.add("nul", link(b"a\0b"));
    tree.add("odd", link(b"../\xff\n//../x"));
    let Some(mounted) = Mounted::new(tree, "ro") else { return };
    let target = |name: &str| fs::read_link(mounted.path().join(name));

    for _ in ["cold", "warm"] {
        assert_eq!(target("longest").unwrap().as_os_str(), OsStr::from_bytes(&longest));
        assert_eq!(target("odd").unwrap().as_os_str(), OsStr::from_bytes(b"../\xff\n//../x"));
        assert_eq!(errno(target("too long")), rustix::io::Errno::NAMETOOLONG);
        assert_eq!(errno(target("nul")), rustix::io::Errno::IO);
    }
}

#[test]
fn attempts_to_write_are_refused_as_on_a_read_only_filesystem() {
    let mut tree = MemoryTree::new();
    tree.add("file", file(b"untouched"));
    tree.add("dir", directory());
    let Some(mounted) = Mounted::new(tree, "ro") else { return };
    let attempts = [
        "echo x > file",
        "cat /proc/self/comm >> file",
        "echo x > new",
        "mkdir new",
        "rmdir dir",
        "rm -f file",
        "mv file dir/",
        "ln file again",
        "ln -s x link",
        "chmod 600 file",
        "chown 1 file",
        "touch file",
        "truncate -s 0 file",
        "mkfifo pipe",
        "setfattr -n user.x -v y file",
    ];
    let refuse = || {
        for attempt in attempts {
            let output = shell(mounted.path(), attempt);
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(
                !output.status.success() && complaint.contains("Read-only file system"),
                "{attempt}: {complaint}"
            );
        }
        assert_eq!(printed(mounted.path(), "cat file"), "untouched");
    };

    refuse();
    if is_root() {
        printed(mounted.path(), "mount -i -o remount,rw .");
        refuse();
    }
}

#[test]
fn streams_are_reached_by_colon_attribute_or_not_at_all() {
    let tree = || {
        let mut tree = MemoryTree::new();
        let mut owner = file(b"main");
        owner.streams.push((name("Zone.Identifier"), b"zone 3".to_vec()));
        owner.xattrs.push(Xattr::new(*b"user.Zone.Identifier", b"zone 3".to_vec()).unwrap());
        owner.xattrs.push(Xattr::new(*b"user.other", b"o".to_vec()).unwrap());
        tree.add("owner", owner);
        tree.add("with:colon", file(b"plain"));
        tree
    };
    let by_colon = "cat owner:Zone.Identifier; stat -c ' %s %F' owner:Zone.Identifier; cat with:colon";
    let first = "cat owner:Zone.Identifier";
    let missing = "cat owner:none; cat none:none; cat owner:; cat :x";
    let names = "getfattr -m - owner | grep -v '^#' | sort | tr -d '\n'";

    let Some(mounted) = Mounted::new(tree(), "streams=colon") else { return };
    for _ in ["cold", "warm"] {
        assert_eq!(printed(mounted.path(), by_colon), "zone 3 6 regular file\nplain");
        assert_eq!(printed(mounted.path(), "ls"), "owner\nwith:colon\n");
    }
    let complaints = shell(mounted.path(), missing).stderr;
    assert_eq!(String::from_utf8_lossy(&complaints).matches("No such file").count(), 4);
    assert_eq!(printed(mounted.path(), names), "user.other");

    let mounted = Mounted::new(tree(), "streams=none").unwrap();
    assert_eq!(printed(mounted.path(), names), "user.other");
    assert!(!shell(mounted.path(), first).status.success());

    let mounted = Mounted::new(tree(), "").unwrap();
    assert_eq!(printed(mounted.path(), names), "user.Zone.Identifieruser.other");
    assert!(!shell(mounted.path(), first).status.success());
}

#[test]
fn extended_attributes_of_all_sizes_come_through() {
    let mut tree = MemoryTree::new();
    let mut rich = file(b"");
    let largest = vec![b'v'; 65536];
    rich.xattrs.push(Xattr::new(*b"user.largest", largest.clone()).unwrap());
    rich.xattrs.push(Xattr::new(*b"user.empty", Vec::new()).unwrap());
    rich.xattrs.push(Xattr::new(format!("user.{}", "n".repeat(600)).into_bytes(), b"x".to_vec()).unwrap());
    rich.xattrs.push(Xattr::new(*b"system.ntfs_acl", b"\x01\0\xff".to_vec()).unwrap());
    tree.add("rich", rich);
    let mut bare = file(b"");
    bare.attr.xattrs = Xattrs::None;
    // Not to be asked for, since the attributes say that there is none.
    bare.xattrs.push(Xattr::new(*b"user.unseen", b"x".to_vec()).unwrap());
    tree.add("bare", bare);
    let Some(mounted) = Mounted::new(tree, "ro") else { return };
    let get = |file: &str, name: &str| {
        let mut value = vec![0; 65536];
        let length = rustix::fs::getxattr(mounted.path().join(file), name, &mut value[..])?;
        value.truncate(length);
        Ok(value)
    };

    assert_eq!(
        printed(mounted.path(), "getfattr -m - rich bare | grep -v '^#' | sort | tr '\n' ' '"),
        " user.empty user.largest "
    );
    assert_eq!(get("rich", "user.largest"), Ok(largest));
    assert_eq!(get("rich", "user.empty"), Ok(Vec::new()));
    assert_eq!(get("rich", "system.ntfs_acl"), Ok(b"\x01\0\xff".to_vec()));
    assert_eq!(get("rich", "user.none"), Err(rustix::io::Errno::NODATA));
    assert_eq!(get("bare", "user.unseen"), Err(rustix::io::Errno::NODATA));
}

#[test]
fn attributes_that_a_guest_cannot_have_are_not_supported_and_access_does_not_depend_on_them() {
    let mut tree = MemoryTree::new();
    tree.limit_xattrs(&["user."]);
    tree.add("file", file(b"content"));
    // Whoever is not the owner is let in by an ACL, if there can be one, and then by the mode.
    let Some(mounted) = Mounted::new(tree, "uid=1234,gid=5678,umask=022,default_permissions") else { return };
    let get = |name: &str| rustix::fs::getxattr(mounted.path().join("file"), name, &mut [0; 64][..]);

    assert_eq!(get("user.none"), Err(rustix::io::Errno::NODATA));
    assert_eq!(get("security.selinux"), Err(rustix::io::Errno::OPNOTSUPP));
    assert_eq!(get("system.posix_acl_access"), Err(rustix::io::Errno::OPNOTSUPP));
    assert_eq!(printed(mounted.path(), "cat file"), "content");
}

#[test]
fn owners_and_modes_of_a_guest_without_them_come_from_the_options() {
    let mut tree = MemoryTree::new();
    tree.add("file", file(b""));
    tree.add("dir", directory());
    let Some(mounted) = Mounted::new(tree, "uid=1234,gid=5678,umask=022,fmask=133") else { return };

    assert_eq!(
        printed(mounted.path(), "stat -c '%n %u:%g %a' dir file"),
        "dir 1234:5678 755\nfile 1234:5678 644\n"
    );
}
