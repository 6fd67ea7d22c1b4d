//! The images that are mutated: one row each.

use crate::images::{make, scratch};
use spelunk_formats::container::FORMATS;
use spelunk_formats::guest::GUESTS;
use spelunk_testkit::{assemblies, skip};
use std::sync::atomic::{AtomicU32, Ordering};

/// How an image is made.
pub struct Seed {
    /// Its name in messages.
    pub name: &'static str,
    /// The guest and the container in it, by their rows' names: without these readers it is left out.
    pub guest: &'static str,
    pub container: &'static str,
    /// What the script needs.
    pub tools: &'static [&'static str],
    /// Makes `disk.img` from the files in `src`, in the shell.
    pub script: &'static str,
    /// Entries that a walk finds at least.
    pub entries_min: usize,
}

/// Files of some kinds. What fills them is left alone, see [`crate::mutate::FILL`].
const SOURCE: &str = r#"
mkdir -p src/directory/below/below "src/a longer name than eight"
z() { head -c "$1" /dev/zero | tr '\0' z; }
z 10 > src/small; : > src/empty; z 100000 > src/large; z 700 > src/directory/file
z 5000 > "src/a longer name than eight/another long name.text"; z 30 > src/directory/below/below/leaf
for n in $(seq 60); do z 20 > src/directory/below/number-$n-of-many; done
"#;

const fn fat(name: &'static str, script: &'static str) -> Seed {
    Seed {
        name,
        guest: "fat",
        container: "raw",
        tools: &["mkfs.fat", "mcopy", "sfdisk"],
        script,
        entries_min: 60,
    }
}

const fn exfat(name: &'static str, script: &'static str) -> Seed {
    let tools = &["mkfs.exfat", "mount.exfat-fuse", "losetup"];
    Seed { name, guest: "exfat", container: "raw", tools, script, entries_min: 60 }
}

const fn ext(name: &'static str, script: &'static str) -> Seed {
    Seed { name, guest: "ext", container: "raw", tools: &["mke2fs", "debugfs"], script, entries_min: 60 }
}

const fn ntfs(name: &'static str, script: &'static str) -> Seed {
    Seed { name, guest: "ntfs", container: "raw", tools: &["mkntfs", "ntfscp"], script, entries_min: 20 }
}

/// A disk that the kernel made a member of something.
const fn member(name: &'static str, script: &'static str) -> Seed {
    Seed { name, guest: "ext", container: "raw", tools: &["cp"], script, entries_min: 3 }
}

/// A container around a FAT volume behind a partition table.
const fn container(container: &'static str, tools: &'static [&'static str], script: &'static str) -> Seed {
    Seed { name: container, guest: "fat", container, tools, script, entries_min: 60 }
}

/// All seeds.
pub const SEEDS: &[Seed] = &[
    fat("fat12", "mkfs.fat -F 12 -n LABEL -C disk.img 1440 && mcopy -s -i disk.img src/* ::/"),
    fat("fat16", "mkfs.fat -F 16 -s 1 -C disk.img 4096 && mcopy -s -i disk.img src/* ::/"),
    fat("fat32", "mkfs.fat -F 32 -s 1 -C disk.img 34000 && mcopy -s -i disk.img src/* ::/"),
    fat(
        "gpt",
        "truncate -s 4M disk.img
        printf 'label: gpt\n start=2048,size=4000,name=one\n start=6100,size=100\n' | sfdisk -q disk.img
        mkfs.fat -F 12 --offset 2048 disk.img 2000 && mcopy -s -i disk.img@@1M src/* ::/",
    ),
    fat(
        "mbr",
        "truncate -s 4M disk.img
        printf 'label: dos\n start=64,size=100,type=83\n start=200,type=f\n start=2048,size=4000,type=1\n
            start=6100,size=100,type=7\n start=6300,type=82\n' | sfdisk -q disk.img
        mkfs.fat -F 12 --offset 2048 disk.img 2000 && mcopy -s -i disk.img@@1M src/* ::/",
    ),
    exfat(
        "exfat",
        "truncate -s 3M disk.img; mkdir mnt; mkfs.exfat -c 512 -L LABEL disk.img
        device=$(losetup --find --show disk.img); trap 'umount mnt; losetup -d $device' EXIT
        mount.exfat-fuse $device mnt; cp -r src/* mnt",
    ),
    exfat(
        "exfat-pieces",
        "truncate -s 6M disk.img; mkdir mnt; mkfs.exfat -c 4K disk.img
        device=$(losetup --find --show disk.img); trap 'umount mnt; losetup -d $device' EXIT
        mount.exfat-fuse $device mnt; cp -r src/* mnt; rm mnt/directory/below/number-1*
        for n in $(seq 20); do z 4096 >> mnt/pieces; z 4096 >> mnt/others; done
        for n in $(seq 40); do : > \"mnt/name number $n of many that are longer than one entry\"; done",
    ),
    ext("ext2", "mke2fs -q -t ext2 -b 1024 -d src disk.img 2M"),
    ext("ext3", "mke2fs -q -t ext3 -d src disk.img 8M"),
    ext("ext4", "mke2fs -q -t ext4 -d src disk.img 8M"),
    // All metadata under checksums, and no journal, whose blocks nobody asks for.
    ext("ext4-sealed", "mke2fs -q -t ext4 -O metadata_csum,metadata_csum_seed,^has_journal,^resize_inode -d src disk.img 8M"),
    // Without checksums mutations reach deeper.
    ext("ext4-inline", "mke2fs -q -t ext4 -O ^metadata_csum,^has_journal,inline_data -I 256 -b 1024 -d src disk.img 2M"),
    ext(
        "ext4-links",
        "i=0; while [ $i -lt 20 ]; do ln -s directory/file src/link$i; i=$((i + 1)); done
        ln -s $(printf 'long/%.0s' $(seq 40)) src/slow
        mke2fs -q -t ext4 -O ^metadata_csum,^has_journal,meta_bg,^resize_inode,bigalloc -C 16384 -b 1024 -d src disk.img 4M
        debugfs -w -R 'ea_set small user.name value' disk.img",
    ),
    // Directories need a mount; without one, there is just the root.
    ntfs(
        "ntfs",
        "truncate -s 4M disk.img; mkntfs -q -F -s 512 -c 4096 disk.img; mkdir mnt
        if ntfs-3g disk.img mnt 2> log; then cp -r src/directory src/a* mnt; umount mnt; fi
        for n in $(seq 20); do ntfscp -q disk.img src/small \"name number $n\"; done
        ntfscp -q disk.img src/large large; ntfscp -q -N stream disk.img src/small large",
    ),
    ntfs(
        "ntfs-512",
        "truncate -s 4M disk.img; mkntfs -q -F -s 512 -c 512 disk.img
        for n in $(seq 60); do ntfscp -q disk.img src/small \"name number $n\"; done
        ntfscp -q disk.img src/large large",
    ),
    member("lvm-thin", "cp \"$ASSEMBLIES/lvm-thin.img\" disk.img"),
    member("lvm-mirror", "cp \"$ASSEMBLIES/lvm-b.img\" disk.img"),
    member("md-1", "cp \"$ASSEMBLIES/md-12-0.img\" disk.img"),
    member("md-0", "cp \"$ASSEMBLIES/md-090-0.img\" disk.img"),
    member("md-lvm", "cp \"$ASSEMBLIES/md-lvm-0.img\" disk.img"),
    container("vhd", &["mkfs.fat", "mcopy", "qemu-img"], "mkfs.fat -F 12 -s 2 -C raw.img 4096
        mcopy -s -i raw.img src/* ::/; qemu-img convert -f raw -O vpc -o force_size=on raw.img disk.img"),
    container("vhdx", &["mkfs.fat", "mcopy", "qemu-img"], "mkfs.fat -F 12 -s 2 -C raw.img 4096
        mcopy -s -i raw.img src/* ::/; qemu-img convert -f raw -O vhdx -o block_size=1M raw.img disk.img"),
    Seed { name: "vhdx-log", ..container("vhdx", &["mkfs.fat", "mcopy", "qemu-img", "python3"], VHDX_LOG) },
    container("qcow2", &["mkfs.fat", "mcopy", "qemu-img"], "mkfs.fat -F 12 -s 2 -C raw.img 4096
        mcopy -s -i raw.img src/* ::/; qemu-img convert -f raw -O qcow2 -o cluster_size=4k raw.img disk.img
        qemu-img snapshot -c one disk.img"),
    Seed { name: "qcow2-zstd", ..container("qcow2", &["mkfs.fat", "mcopy", "qemu-img"],
        "mkfs.fat -F 12 -s 2 -C raw.img 4096; mcopy -s -i raw.img src/* ::/
        qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd,extended_l2=on raw.img disk.img") },
    container("vdi", &["mkfs.fat", "mcopy", "qemu-img"], "mkfs.fat -F 12 -s 2 -C raw.img 4096
        mcopy -s -i raw.img src/* ::/; qemu-img convert -f raw -O vdi raw.img disk.img"),
    container("vmdk", &["mkfs.fat", "mcopy", "qemu-img"], "mkfs.fat -F 12 -s 2 -C raw.img 4096
        mcopy -s -i raw.img src/* ::/; qemu-img convert -f raw -O vmdk raw.img disk.img"),
    Seed { name: "vmdk-stream", ..container("vmdk", &["mkfs.fat", "mcopy", "qemu-img"],
        "mkfs.fat -F 12 -s 2 -C raw.img 4096; mcopy -s -i raw.img src/* ::/
        qemu-img convert -f raw -O vmdk -o subformat=streamOptimized raw.img disk.img") },
    container("vhdz", &["mkfs.fat", "mcopy", "qemu-img", "python3"], VHDZ),
];

/// A VHDX that was not closed: its log holds the block table's sector, which is not in its place, and zeros elsewhere.
const VHDX_LOG: &str = r#"mkfs.fat -F 12 -s 2 -C raw.img 4096
mcopy -s -i raw.img src/* ::/; qemu-img convert -f raw -O vhdx -o block_size=1M raw.img disk.img
python3 - <<'END'
import struct
image = bytearray(open('disk.img', 'rb').read())
def seal(b):
    b[4:8] = bytes(4)
    crc = 0xFFFFFFFF
    for byte in b:
        crc ^= byte
        for _ in range(8): crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    b[4:8] = struct.pack('<I', crc ^ 0xFFFFFFFF)
for at in (64 << 10, 128 << 10):
    header = image[at:at + 4096]
    header[48:64] = b'L' * 16
    seal(header)
    image[at:at + 4096] = header
log = struct.unpack_from('<Q', image, (64 << 10) + 72)[0]
for number in range(struct.unpack_from('<I', image, (192 << 10) + 8)[0]):
    entry = (192 << 10) + 16 + number * 32
    if image[entry:entry + 4] == bytes.fromhex('6677c22d'): table = struct.unpack_from('<Q', image, entry + 16)[0]
sector, end = bytes(image[table:table + 4096]), len(image)
image[table:table + 4096] = bytes(4096)
record = bytearray(4096)
record[64:96] = struct.pack('<4sIQQQ', b'zero', 0, 4096, table + 8192, 1)
record[96:128] = b'desc' + sector[4092:] + sector[:8] + struct.pack('<QQ', table, 1)
record += struct.pack('<4sI', b'data', 0) + sector[8:4092] + struct.pack('<I', 1)
record[:64] = struct.pack('<4sIIIQII16sQQ', b'loge', 0, len(record), 0, 1, 2, 0, b'L' * 16, end, end)
seal(record)
image[log:log + len(record)] = record
open('disk.img', 'wb').write(image)
END
"#;

/// A compressed container of two blocks that are stored, deflated, or nowhere.
const VHDZ: &str = r#"mkfs.fat -F 12 -s 2 -C raw.img 4096
mcopy -s -i raw.img src/* ::/; qemu-img convert -f raw -O vpc -o force_size=on raw.img inner.vhd
python3 - <<'END'
import struct, zlib
inner = open('inner.vhd', 'rb').read()
block_bytes = 0x10000
out, index = bytearray(50), []
for number in range(0, len(inner), block_bytes):
    block = inner[number:number + block_bytes].ljust(block_bytes, b'\0')
    if not any(block):
        index.append(-1)
        continue
    index.append(len(out))
    mode = number // block_bytes % 2
    payload = zlib.compress(block) if mode else block
    out += struct.pack('<II', len(payload), mode) + payload
out[:50] = b'URBACKUP COMPRESSED FILE#1.0\0' + struct.pack('<qqIB', len(out), len(inner), block_bytes, 0)
out += struct.pack('<%dq' % len(index), *index)
open('disk.img', 'wb').write(out)
END
"#;

impl Seed {
    /// Makes the image. `None`, with the reason printed, where a reader or a tool is missing.
    pub fn make(&self) -> Option<Vec<u8>> {
        let has_readers = GUESTS.iter().any(|guest| guest.name == self.guest)
            && FORMATS.iter().any(|format| format.name == self.container);
        if !has_readers {
            eprintln!("{} is skipped: no reader of {} in {}", self.name, self.guest, self.container);
            return None;
        }
        // Nothing else fills such volumes.
        if self.guest == "exfat" && !(skip::unless_root("a loop device") && skip::unless_fuse()) {
            return None;
        }
        // Tests that run at the same time make the same image.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let directory = scratch(&format!("mutation-{}-{}", self.name, MADE.fetch_add(1, Ordering::Relaxed)));
        let assemblies = assemblies::directory().unwrap();
        let script = format!("ASSEMBLIES='{}'\n{SOURCE}{}", assemblies.display(), self.script);
        if !make(&directory, self.tools, &script) {
            return None;
        }
        let bytes = std::fs::read(directory.join("disk.img")).unwrap();
        std::fs::remove_dir_all(directory).unwrap();
        Some(bytes)
    }
}
