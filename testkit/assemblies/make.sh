#!/bin/sh
# Makes the images of `fixtures.tar.zst`: boots a Debian kernel in QEMU, since volume groups and arrays
# can only be made (and read by an independent reader) where the kernel has device mapper and md, and has `guest.sh` make
# them there. Needs: qemu-system-x86 busybox-static lvm2 mdadm thin-provisioning-tools e2fsprogs fdisk cpio zstd kmod tar.
# Usage: make.sh DIRECTORY   (an empty one to work in; downloads a kernel's package into it)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$1
mkdir -p "$work" && cd "$work"
kernel=${KERNEL_PACKAGE:-linux-image-6.1.0-50-amd64}

[ -d kernel ] || { apt-get download "$kernel" && dpkg -x "$kernel"_*.deb kernel; }
[ -d kernel/usr/lib/modules ] || { mkdir -p kernel/usr/lib && ln -sfn ../../lib/modules kernel/usr/lib/modules; }
version=$(basename kernel/boot/vmlinuz-* | sed s/vmlinuz-//)
depmod -b kernel "$version"

rm -rf root && mkdir -p root/bin root/sbin root/proc root/sys root/dev root/etc root/tmp root/lib root/lib64
cp /bin/busybox root/bin/busybox
for applet in $(busybox --list | grep -vx busybox); do ln -sf busybox "root/bin/$applet"; done
# copy PROGRAM: in place of the applet of its name, with its libraries.
copy() {
    path=$(command -v "$1")
    rm -f "root/bin/$1"
    cp -L "$path" "root/bin/$1"
    ldd "$path" | grep -o '/[^ ]*' | while read -r library; do mkdir -p "root$(dirname "$library")" && cp -L "$library" "root$library"; done
}
for program in sh lvm mdadm mke2fs sfdisk losetup mount umount tar blockdev sha256sum truncate modprobe; do copy "$program"; done
for alias in pvcreate vgcreate lvcreate lvextend lvconvert vgchange; do ln -sf lvm "root/bin/$alias"; done
cp /etc/mke2fs.conf root/etc/
for module in virtio_pci virtio_blk loop ext4 dm_mod dm_mirror dm_raid dm_snapshot dm_thin_pool dm_cache dm_cache_smq raid0 \
    raid1 raid10 raid456 linear crc32c_generic; do
    modprobe -d "$work/kernel" -S "$version" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p' | while read -r file; do
        target="root/lib/modules/${file#*lib/modules/}"
        mkdir -p "$(dirname "$target")" && cp "$file" "$target"
    done
done
cp kernel/lib/modules/"$version"/modules.builtin* kernel/lib/modules/"$version"/modules.order "root/lib/modules/$version/"
depmod -b root "$version"
cp "$here/guest.sh" root/init && chmod +x root/init
(cd root && find . | cpio -o -H newc --quiet) | gzip -1 > initramfs

rm -f disk.img && truncate -s 512M disk.img
qemu-system-x86_64 -machine accel="${ACCELERATION:-tcg}" -cpu max -m 1500 -nographic -no-reboot -kernel kernel/boot/vmlinuz-"$version" \
    -initrd initramfs -append "console=ttyS0 quiet loglevel=1 panic=-1" -drive file=disk.img,format=raw,if=virtio -nic none < /dev/null | tee log
grep -q DONE log
rm -rf out && mkdir out && tar xf disk.img -C out
tar c --sort=name --owner=0 --group=0 --mtime=@0 -C out . | zstd -q -f --ultra -22 --long=27 -o fixtures.tar.zst
ls -l fixtures.tar.zst
