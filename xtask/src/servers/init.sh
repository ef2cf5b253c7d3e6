# Starts systemd. Since version 258 it needs control groups of version 2, which a machine with version 1 has beside them:
# the container gets a part of them.
version=$(systemctl --version | sed -n 's/^systemd \([0-9]*\).*/\1/p')
if [ -e /sys/fs/cgroup/cgroup.controllers ] || [ "$version" -lt 258 ]; then
    exec /sbin/init
fi
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$(hostname)"
echo $$ >"/sys/fs/cgroup/$(hostname)/cgroup.procs"
umount /sys/fs/cgroup
exec unshare --cgroup sh -c 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec /sbin/init'
