#!/bin/bash
# disk.sh SUITE PACKAGES: in an empty directory, a disk with Debian and SELinux, and its kernel. Root is logged in on the serial line
# and runs what the second disk has.
set -euo pipefail
suite=$1 packages=$2
mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include="$packages" "$suite" root
sed -i 's/^SELINUX=.*/SELINUX=enforcing/' root/etc/selinux/config
printf '/dev/vda / ext4 defaults 0 0\n/dev/vdb /opt/trial ext4 ro 0 0\n' >root/etc/fstab
echo selinux >root/etc/hostname
mkdir -p root/opt/trial root/etc/systemd/system/serial-getty@ttyS0.service.d root/etc/systemd/system.conf.d
# An emulated CPU that has little of the real one takes its time.
printf '[Manager]\nDefaultDeviceTimeoutSec=900\nDefaultTimeoutStartSec=300\n' >root/etc/systemd/system.conf.d/slow.conf
cat >root/etc/systemd/system/serial-getty@ttyS0.service.d/login.conf <<'UNIT'
[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear %I linux
UNIT
cat >root/root/.bash_profile <<'PROFILE'
stty -echo cols 200
bash /opt/trial/trial.sh; echo "trial ended: $?"
systemctl poweroff --force
PROFILE
rm -f root/etc/nginx/sites-enabled/default
for unit in nginx fapolicyd selinux-autorelabel apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer; do
    systemctl --quiet --root root disable "$unit" 2>/dev/null || true
done
# fapolicyd with the rules of RHEL, for which Debian's package has no database of trusted files.
(cd root/usr/share/fapolicyd/sample-rules && cp 10-* 20-* 21-* 30-* 40-* 41-* 42-* 70-* 72-* 90-* 95-* ../../../../etc/fapolicyd/rules.d/)
sed -i 's/^trust = .*/trust = file/' root/etc/fapolicyd/fapolicyd.conf
chroot root fapolicyd-cli --file add /usr/ --trust-file system
# As on the first start of a machine, and a hundred times as fast.
unshare --mount --propagation private sh -c "mount --bind /proc root/proc &&
    chroot root /sbin/setfiles -F -e /proc /etc/selinux/default/contexts/files/file_contexts /" >setfiles.log 2>&1
cp root/boot/vmlinuz-* kernel
cp root/boot/initrd.img-* initrd
rm -rf root/var/lib/apt/lists root/var/cache/apt
truncate --size=3G disk
mkfs.ext4 -q -F -d root disk
rm -rf root
