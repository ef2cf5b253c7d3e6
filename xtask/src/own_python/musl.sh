#!/bin/sh
# In a container of Debian with musl-gcc: makes a Python for musl in /made/python out of Debian's sources, laid out as
# python-build-standalone does, and in /made/root a system like Alpine's: musl, busybox, and no Python. Of the libraries that a Python
# may use, it has zlib alone.
set -eu
name=python$1
[ -d /usr/include/x86_64-linux-musl/linux ] || for headers in linux asm-generic x86_64-linux-gnu/asm; do
    ln -s "/usr/include/$headers" /usr/include/x86_64-linux-musl/
done

root=/made/root
mkdir -p $root/bin $root/sbin $root/usr/bin $root/usr/sbin $root/usr/local/bin $root/lib $root/etc $root/proc $root/dev $root/run $root/root $root/srv \
    $root/home/somebody $root/tmp $root/var/tmp $root/dev/shm
chmod 1777 $root/tmp $root/var/tmp
cp /bin/busybox $root/bin/
cp -L /lib/ld-musl-x86_64.so.1 $root/lib/
ln -s ld-musl-x86_64.so.1 $root/lib/libc.musl-x86_64.so.1
printf 'root:x:0:0:root:/root:/bin/sh\nsomebody:x:1234:1234::/home/somebody:/bin/sh\n' >$root/etc/passwd
printf 'root:x:0:\nsomebody:x:1234:\n' >$root/etc/group
printf 'ID=alpine\nVERSION_ID=3.22.1\nPRETTY_NAME="musl and busybox, like Alpine"\n' >$root/etc/os-release
chroot $root /bin/busybox --install -s
chown 1234:1234 $root/home/somebody

# Of the suite itself: a mirror may lack the sources of its updates.
sed -n '/^deb /{s//deb-src /p;q}' /etc/apt/sources.list >/etc/apt/sources.list.d/sources.list
apt-get -qq update
mkdir /sources
cd /sources
apt-get -qq -o APT::Sandbox::User=root source --download-only "$name" zlib
for source in ./*.orig.tar.*z*; do
    tar -xf "$source"
done
# Which C library it is, configure takes from the name.
printf '#!/bin/sh\ncase $* in --print-multiarch) echo x86_64-linux-musl ;; *) exec musl-gcc "$@" ;; esac\n' >/usr/local/bin/cc-musl
chmod +x /usr/local/bin/cc-musl
export CC=cc-musl CFLAGS="-O1 -g0 -fPIC -I/sources/zlib" LDFLAGS="-L/sources/zlib -s"
mv zlib-* zlib
cd zlib
./configure --static >/dev/null
make libz.a >/dev/null
cd ../Python-*
./configure --quiet --prefix=/python --without-ensurepip --disable-test-modules >/dev/null 2>&1
make -j2 >/dev/null 2>&1
make install DESTDIR=/made >/dev/null 2>&1
"/made/python/bin/$name" -I -c 'import sys, zlib; assert sys.base_prefix == "/made/python", sys.base_prefix'
