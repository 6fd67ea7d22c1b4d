//! Images that are made here, of the formats that the corpus has few of, and with structures that no writer makes.

use spelunk_testkit::{skip, tool};
use std::path::{Path, PathBuf};

/// What is needed to make them.
const TOOLS: [&str; 7] = ["mkfs.ext4", "mkfs.fat", "mcopy", "mkntfs", "ntfscp", "qemu-img", "python3"];

/// Small filesystems in every container, each with what its format allows: compressed, sparse, with snapshots.
const SCRIPT: &str = r#"
cd "$0"; mkdir -p src/a/b; echo hello > src/hello; head -c 300000 /dev/zero > src/zeros; head -c 100000 /dev/urandom > src/noise
for n in $(seq 50); do echo $n > src/a/b/file-$n; done
truncate -s 6M ext.raw; mkfs.ext4 -q -F -b 1024 -O ^has_journal -d src ext.raw
mkfs.fat -C fat.raw 6144 >/dev/null; mcopy -s -i fat.raw src/* ::/
truncate -s 6M ntfs.raw; mkntfs -q -F -Q -s 512 -c 4096 -p 0 ntfs.raw
for name in hello zeros noise; do ntfscp -q -f ntfs.raw src/$name $name; done
for guest in ext fat ntfs; do
    convert() { qemu-img convert -f raw -O "$@"; }
    convert qcow2 -o cluster_size=512,compat=0.10 $guest.raw $guest-small.qcow2
    convert qcow2 -c -o cluster_size=64k $guest.raw $guest-zlib.qcow2
    convert qcow2 -c -o compression_type=zstd,extended_l2=on $guest.raw $guest-zstd.qcow2
    qemu-img snapshot -c one $guest-small.qcow2
    convert vmdk $guest.raw $guest.vmdk
    convert vmdk -o subformat=streamOptimized $guest.raw $guest-stream.vmdk
    convert vdi $guest.raw $guest.vdi
    convert vhdx -o block_size=1M $guest.raw $guest.vhdx
    convert vpc -o force_size=on $guest.raw $guest.vhd
done
"#;

/// VHDXs that were not closed, with entries in their logs that no writer makes: all that the format lets an entry
/// say, at its ends. Checksums are right, or nobody would look at them.
const LOGS: &str = r#"
import random, struct, sys
TABLE = []
for n in range(256):
    for _ in range(8): n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    TABLE.append(n)
def seal(b):
    b[4:8] = bytes(4)
    crc = 0xFFFFFFFF
    for byte in b: crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    b[4:8] = struct.pack('<I', crc ^ 0xFFFFFFFF)
image, out = open(sys.argv[1], 'rb').read(), sys.argv[2]
ID, START, LEN = b'L' * 16, 0, 1 << 20
START = struct.unpack_from('<Q', image, (64 << 10) + 72)[0]
ends = [0, 1, 4095, 4096, 65536, 1 << 20, len(image) - 4096, len(image), 1 << 32, 1 << 40, (1 << 63) - 4096, (1 << 64) - 4096, (1 << 64) - 1]
for seed in range(24):
    rng = random.Random(seed)
    new = bytearray(image)
    for at in (64 << 10, 128 << 10):
        header = bytearray(new[at:at + 4096])
        header[48:64] = ID
        seal(header)
        new[at:at + 4096] = header
    at, sequence = 0, rng.choice([1, 2, (1 << 32) - 2, (1 << 63)])
    for _ in range(rng.choice([1, 2, 5, 20])):
        count = rng.choice([0, 1, 3, 126, 127, 500, 4000]) if seed % 3 else rng.choice([1, 8])
        head = (64 + 32 * count + 4095) // 4096 * 4096
        entry, data = bytearray(head), bytearray()
        for n in range(count):
            where = rng.choice(ends) if rng.random() < .5 else rng.randrange(len(image)) // 4096 * 4096
            kind = rng.random()
            if kind < .6:
                entry[64 + n * 32:96 + n * 32] = struct.pack('<4sIQQQ', b'zero', 0, rng.choice(ends), where, sequence)
            elif kind < .95 and head + len(data) < LEN // 2:
                entry[64 + n * 32:96 + n * 32] = struct.pack('<4sIQQQ', b'desc', rng.getrandbits(32), rng.getrandbits(64), where, sequence)
                data += struct.pack('<4sI', b'data', sequence >> 32) + rng.randbytes(4084) + struct.pack('<I', sequence & 0xFFFFFFFF)
            else:
                entry[64 + n * 32:96 + n * 32] = rng.randbytes(32)
        entry += data
        if at + len(entry) > LEN: break
        tail = rng.choice([at, at, 0, LEN - 4096])
        entry[:64] = struct.pack('<4sIIIQII16sQQ', b'loge', 0, len(entry), tail, sequence, count, 0, ID,
                                 rng.choice([len(image)] + ends), rng.choice([len(image)] + ends))
        seal(entry)
        new[START + at:START + at + len(entry)] = entry
        at, sequence = at + len(entry), (sequence + rng.choice([1, 1, 1, 0, 2])) % (1 << 64)
    open(out + '/log-%d.vhdx' % seed, 'wb').write(new)
"#;

/// The images, by their names; nothing where a tool is missing.
pub fn images(directory: &Path) -> Vec<PathBuf> {
    if !skip::unless_found(&TOOLS) {
        return Vec::new();
    }
    tool::run("sh", ["-ec".as_ref(), SCRIPT.as_ref(), directory.as_os_str()]).expect("images can be made");
    let vhdx = directory.join("ext.vhdx");
    let arguments = ["-c".as_ref(), LOGS.as_ref(), vhdx.as_os_str(), directory.as_os_str()];
    tool::run("python3", arguments).expect("logs can be made");
    let files = std::fs::read_dir(directory).expect("the images").flatten().map(|entry| entry.path());
    let mut images: Vec<PathBuf> = files.filter(|path| path.is_file()).collect();
    images.sort();
    images
}
