#!/bin/sh
# Runs the package in an arm64 Debian under qemu, and compares what it computes with this machine:
#
#     tools/arm64.sh [FOLDER]
#
# Needs root on Debian or Ubuntu. Installs qemu-user-static, binfmt-support and debootstrap if they are missing. FOLDER
# (default: build/arm64) holds the system and may be used again. Emulation says nothing about speed.
set -eu
cd "$(dirname "$0")/.."
system=${1:-build/arm64}
python=.venv/bin/python
[ "$(id -u)" = 0 ] || { echo "tools/arm64.sh needs root: it makes a system and changes into it" >&2; exit 1; }
[ -x "$python" ] || { echo "run make .venv/dev first" >&2; exit 1; }

if ! { command -v debootstrap && command -v qemu-aarch64-static && command -v update-binfmts; } > /dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        qemu-user-static binfmt-support debootstrap > /dev/null
fi
[ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
update-binfmts --enable qemu-aarch64

if [ ! -e "$system/complete" ]; then
    rm -rf "$system"
    mkdir -p "$system"
    debootstrap --arch=arm64 --foreign --variant=minbase --include=python3,libgl1,libglib2.0-0,libgomp1 \
        bookworm "$system" > "$system.log"
    cp "$(command -v qemu-aarch64-static)" "$system/usr/bin/"
    chroot "$system" /debootstrap/debootstrap --second-stage >> "$system.log"
    touch "$system/complete"
fi
rm -rf "$system/package" "$system/dist"
"$python" -m uv build --quiet --wheel --out-dir "$system/dist"
"$python" -m uv pip install --quiet --target "$system/package" --python-platform aarch64-manylinux_2_28 \
    --python-version 3.11 --only-binary :all: "$(ls "$system"/dist/*.whl)[ncnn]"

check=$system/check
rm -rf "$check"
mkdir -p "$check"
cp tools/arm64_check.py "$check"
"$python" -m edge_segface export edge-256 --format ncnn -o "$check/edge.ncnn.param"
# Without /sys: there cpuinfo would find the processor of this machine, and crash.
mount -t proc none "$system/proc"
trap 'umount "$system/proc"' EXIT
"$python" tools/arm64_check.py run "$check/edge.ncnn.param" "$check/here.npz"
there() { chroot "$system" env PYTHONPATH=/package HOME=/check python3 "$@"; }
there /check/arm64_check.py run /check/edge.ncnn.param /check/there.npz
there -m edge_segface demo --frames 10 --out /check/demo
"$python" tools/arm64_check.py compare "$check/here.npz" "$check/there.npz"
