#!/bin/sh
# In a container of Debian: puts its Python into /tree, laid out as python-build-standalone does. The libraries that it needs beside
# those of the C library go along; the program looks for them beside itself, wherever it is.
set -eu
name=python$1
mkdir /tree/bin /tree/lib
cp "/usr/bin/$name" /tree/bin/
ln -s "$name" /tree/bin/python3
cp -RL "/usr/lib/$name" /tree/lib/
cd "/tree/lib/$name"
rm -rf EXTERNALLY-MANAGED sitecustomize.py config-* __pycache__
find /tree/bin/"$name" lib-dynload -type f -exec ldd {} + | awk '$2 == "=>" { print $3 }' | sort -u | while read -r library; do
    case $(dpkg --search "$(readlink -f "$library")" "$library" 2>/dev/null) in
        libc6:*) ;;
        *) cp -L "$library" /tree/lib/ ;;
    esac
done
# DT_RPATH, and not DT_RUNPATH: it counts for what modules need, too.
patchelf --force-rpath --set-rpath "\$ORIGIN/../lib" "/tree/bin/$name"
find /tree/lib -name '*.so*' -type f -exec strip --strip-unneeded {} +
chmod -R u+w /tree
"/tree/bin/$name" -I -c 'import ctypes, sqlite3, ssl, sys; assert sys.base_prefix == "/tree", sys.base_prefix'
