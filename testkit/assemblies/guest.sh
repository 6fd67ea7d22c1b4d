#!/bin/sh
# Runs as the first process of the virtual machine that `make.sh` boots: makes volume groups and arrays with the
# kernel's and the distribution's own tools on files in memory, has the kernel read everything that is in them,
# and writes the files and what the kernel read to /dev/vda as one tar archive.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin LC_ALL=C
mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t devtmpfs dev /dev
mkdir -p /out /mnt /run/lvm /run/mdadm /etc/lvm /tmp
for module in crc32c_generic virtio_pci virtio_blk loop ext4 dm_mod dm_mirror dm_log dm_raid dm_snapshot dm_thin_pool dm_cache \
    dm_cache_smq raid0 raid1 raid10 raid456 linear; do
    modprobe $module || echo "no module $module"
done
cat > /etc/lvm/lvm.conf <<'CONF'
devices { use_devicesfile = 0 scan = [ "/dev" ] filter = [ "a|/dev/loop.*|", "a|/dev/md.*|", "r|.*|" ] md_component_detection = 1 }
activation { udev_sync = 0 udev_rules = 0 verify_udev_operations = 0 monitoring = 0 raid_region_size = 64 mirror_region_size = 64 }
global { use_lvmlockd = 0 use_lvmpolld = 0 thin_check_executable = "" cache_check_executable = "" }
backup { backup = 0 archive = 0 }
CONF
set -e
trap 'echo FAILED; sync; poweroff -f' EXIT

# disk NAME MIB: an empty disk; prints its device.
disk() {
    truncate -s "$2M" "/out/$1.img"
    losetup -f --show "/out/$1.img"
}

# fill DEVICE NAME LINES: a filesystem with a few files, one of them of so many lines.
fill() {
    mke2fs -q -t ext2 -b 1024 -N 32 -L "$2" -E nodiscard -m 0 "$1"
    mount -t ext4 "$1" /mnt
    echo "this is $2" > /mnt/name.txt
    mkdir /mnt/dir
    i=0
    while [ $i -lt "$3" ]; do echo "$2 line $i"; i=$((i + 1)); done > /mnt/dir/lines.txt
    umount /mnt
}

# tell DEVICE NAME: what the kernel reads of it, all bytes and each file.
tell() {
    echo "$2 size $(blockdev --getsize64 "$1")" >> /out/manifest
    echo "$2 device $(sha256sum < "$1" | cut -d' ' -f1)" >> /out/manifest
    if mount -t ext4 -o ro "$1" /mnt 2>/dev/null; then
        (cd /mnt && find . -type f | sort | while read -r file; do
            echo "$2 ${file#./} $(sha256sum < "$file" | cut -d' ' -f1)"
        done) >> /out/manifest
        umount /mnt
    fi
}

lv() { lvcreate -q -q -y -W n -Z n "$@" > /dev/null; }

# --- Two physical volumes: what needs both, and what does not.
a=$(disk lvm-a 16) b=$(disk lvm-b 16)
pvcreate -q -q --dataalignment 64k --metadatasize 60k "$a" "$b" > /dev/null
vgcreate -q -q -s 64k vg0 "$a" "$b" > /dev/null
lv -l 8 -n lin vg0 "$a"
lv -l 8 -n my-data vg0 "$b"
lv -i 2 -I 4k -l 16 -n striped vg0
lv --type mirror -m 1 --mirrorlog core -l 8 -n mir vg0
lv --type raid1 -m 1 --nosync -l 8 -n r1 vg0
lv --type raid0 -i 2 -I 8k -l 16 -n r0 vg0
lvextend -q -q -l +8 vg0/lin "$b" > /dev/null
for name in lin my-data striped mir r1 r0; do fill "/dev/vg0/$name" "$name" 2000; done
lvcreate -q -q -y -s -l 8 -n old vg0/my-data > /dev/null
mount -t ext4 /dev/vg0/my-data /mnt; echo "written after the snapshot" > /mnt/later.txt; umount /mnt
sync; for name in lin my-data striped mir r1 r0; do tell "/dev/vg0/$name" "vg0-$(echo $name | sed s/-/--/g)"; done
vgchange -q -q -an vg0 > /dev/null
losetup -d "$a"; losetup -d "$b"

# --- Thin volumes and a snapshot of one, on one disk; a RAID of a kind that is not read; a cache.
t=$(disk lvm-thin 24)
pvcreate -q -q "$t" > /dev/null
vgcreate -q -q -s 64k thin "$t" > /dev/null
lvcreate -q -q -y -Z n --type thin-pool -l 80 -c 64k --poolmetadatasize 2m --poolmetadataspare n -n pool thin > /dev/null
lvcreate -q -q -y -V 64m --thinpool pool -n sparse thin > /dev/null
lvcreate -q -q -y -V 3m --thinpool pool -n full thin > /dev/null
fill /dev/thin/sparse sparse 5000
fill /dev/thin/full full 5000
lvcreate -q -q -y -s -n snap -kn thin/sparse > /dev/null
mount -t ext4 /dev/thin/sparse /mnt
echo changed > /mnt/name.txt; rm /mnt/dir/lines.txt; echo new > /mnt/dir/new.txt
umount /mnt; sync
for name in sparse full snap; do tell "/dev/thin/$name" "thin-$name"; done
lvcreate -q -q -y --type cache-pool -l 16 --poolmetadatasize 2m --poolmetadataspare n -c 32k -n fast thin > /dev/null
lv -l 8 -n slow thin
fill /dev/thin/slow slow 100
lvconvert -q -q -y --type cache --cachepool thin/fast thin/slow > /dev/null
vgchange -q -q -an thin > /dev/null
losetup -d "$t"

# --- RAID5 of LVM: three physical volumes on one disk of partitions would need more; here three disks are one file each.
x=$(disk lvm-r5-a 3) y=$(disk lvm-r5-b 3) z=$(disk lvm-r5-c 3)
pvcreate -q -q "$x" "$y" "$z" > /dev/null
vgcreate -q -q -s 64k five "$x" "$y" "$z" > /dev/null
lv --type raid5 -i 2 --nosync -l 8 -n r5 five
lv -l 4 -n plain five "$x"
fill /dev/five/plain plain 100
tell /dev/five/plain five-plain
vgchange -q -q -an five > /dev/null
losetup -d "$x"; losetup -d "$y"; losetup -d "$z"

# --- Arrays. array NAME LEVEL SIZES -- OPTIONS of mdadm
array() {
    name=$1 level=$2 sizes=$3; shift 3
    devices='' number=0
    for size in $sizes; do
        devices="$devices $(disk "$name-$number" "$size")"; number=$((number + 1))
    done
    # shellcheck disable=SC2086
    mdadm -q --create /dev/md9 --run --level="$level" --raid-devices=$number "$@" $devices
}
end() {
    sync
    mdadm -q --stop /dev/md9
    for device in $devices; do losetup -d "$device"; done
}
for metadata in 0.90 1.0 1.1 1.2; do
    name=md-$(echo $metadata | tr -d .)
    array "$name" 1 "3 3" --metadata=$metadata --bitmap=none --assume-clean $([ $metadata = 0.90 ] || echo --homehost=host --name="r$metadata")
    fill /dev/md9 "$name" 500
    tell /dev/md9 "$name"
    end
done
array md-linear linear "3 4" --metadata=1.2 --homehost=host --name=line --rounding=64
fill /dev/md9 line 9000; tell /dev/md9 md-linear; end
array md-linear090 linear "3 3" --metadata=0.90 --rounding=64
fill /dev/md9 line090 9000; tell /dev/md9 md-linear090; end
echo 2 > /sys/module/raid0/parameters/default_layout
array md-stripe 0 "3 5 4" --metadata=1.2 --chunk=16 --homehost=host --name=stripe
fill /dev/md9 stripe 20000; tell /dev/md9 md-stripe; end
array md-five 5 "3 3 3" --metadata=1.2 --bitmap=none --assume-clean --homehost=host --name=five
fill /dev/md9 five 100; end

# A mirror whose second leg fell out, and was written to afterwards.
array md-stale 1 "3 3" --metadata=1.2 --bitmap=none --assume-clean --homehost=host --name=stale
fill /dev/md9 stale 100
second=${devices##* }
mdadm -q /dev/md9 --fail "$second" > /dev/null; sleep 1; mdadm -q /dev/md9 --remove "$second" > /dev/null
mount -t ext4 /dev/md9 /mnt; echo "after the failure" > /mnt/name.txt; umount /mnt
tell /dev/md9 md-stale
end

# A mirror that holds a volume group, and one that holds a partition table.
array md-lvm 1 "4 4" --metadata=1.2 --bitmap=none --assume-clean --homehost=host --name=pv
pvcreate -q -q /dev/md9 > /dev/null
vgcreate -q -q -s 64k nested /dev/md9 > /dev/null
lv -l 8 -n data nested
fill /dev/nested/data nested 100; tell /dev/nested/data nested-data
vgchange -q -q -an nested > /dev/null
end
array md-parts 1 "4 4" --metadata=1.0 --bitmap=none --assume-clean --homehost=host --name=parts
echo '2048,2048,L' | sfdisk -q --no-reread --no-tell-kernel /dev/md9
loop=$(losetup -f --show -o 1048576 --sizelimit 1048576 /dev/md9)
fill "$loop" part 100; tell "$loop" partsp1
sync; losetup -d "$loop"
end

cd /out
echo "files are done"
tar c . > /dev/vda
sync
trap - EXIT
echo DONE
poweroff -f
