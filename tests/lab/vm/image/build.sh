#!/bin/sh
# Runs inside the tree of the image: two kernels, the injector for the older one, and what a machine of the lab does without.
# The older kernel is installed; the newer one's packages are what `apt-get install linux-image-cloud-amd64` finds, without a network.
set -eu
export DEBIAN_FRONTEND=noninteractive
meta=linux-image-cloud-amd64
tools='apt-utils make'

versions=$(apt-cache madison $meta | awk '{print $3}')
new_version=$(echo "$versions" | head -n 1)
old_version=$(echo "$versions" | tail -n 1)
wanted=$meta
if [ "$old_version" = "$new_version" ]; then
    # The archive has one 6.1 just now (a point release was made): the next series is newer, too
    wanted=linux-image-6.12-cloud-amd64
fi
release() { apt-cache depends "$1" | sed -n 's/.*Depends: linux-image-\([0-9].*\)/\1/p' | head -n 1; }
old=$(release "$meta=$old_version")

apt-get install -qq -y --no-install-recommends "$meta=$old_version" "linux-headers-$old" $tools

make -C "/lib/modules/$old/build" M=/usr/local/src/injector modules
install -D -m 644 /usr/local/src/injector/stall_injector.ko "/lib/modules/$old/extra/stall_injector.ko"
depmod "$old"

apt-get clean
apt-get install -qq -y --no-install-recommends --download-only "$wanted"
install -d /srv/kernels
mv /var/cache/apt/archives/*.deb /srv/kernels
new=$(basename "$(ls /srv/kernels/linux-image-[0-9]*.[0-9]*.[0-9]*-cloud-amd64_*.deb)" | sed 's/^linux-image-\(.*\)_[^_]*_amd64.deb$/\1/')
(cd /srv/kernels && apt-ftparchive packages . >Packages)
apt-get purge -qq -y --autoremove "linux-headers-$old" $tools

rm -rf /usr/local/src/injector /etc/apt/sources.list /etc/ssh/ssh_host_* /etc/machine-id /etc/hostname
: >/etc/machine-id
apt-get update -qq
apt-get clean

systemctl enable systemd-networkd.service
systemctl disable systemd-networkd-wait-online.service
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    systemd-timesyncd.service systemd-binfmt.service systemd-pstore.service systemd-update-utmp.service getty@tty1.service \
    serial-getty@ttyS0.service systemd-networkd-wait-online.service systemd-hwdb-update.service systemd-journal-catalog-update.service systemd-update-done.service \
    modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service \
    modprobe@loop.service

# update-grub runs in the machine after each kernel
chmod -x /etc/grub.d/05_debian_theme /etc/grub.d/20_linux_xen /etc/grub.d/30_os-prober /etc/grub.d/30_uefi-firmware

cat >/etc/lab-kernels.json <<EOF
{"package": "$wanted", "old": "$old", "new": "$new"}
EOF
