#!/bin/sh
# Install Debian packages of one group. Nothing else in this project touches the system.
#   scripts/apt.sh            list the groups
#   scripts/apt.sh GROUP...   install what is not there yet (with sudo only when not root)
set -eu

groups="base fuzz peers corpus board"

packages() {
    case $1 in
    base) echo "gcc libc6-dev make python3-dev python3-venv" ;;
    fuzz) echo "clang libclang-rt-14-dev" ;;
    peers) echo "xdelta3 zstd bsdiff rdiff valgrind" ;;
    corpus) echo "apt dpkg debian-archive-keyring squashfs-tools mtd-utils" ;;
    board) echo "qemu-system-arm gcc-arm-linux-gnueabihf gcc-aarch64-linux-gnu gcc make apt dpkg" \
        "debian-archive-keyring squashfs-tools mtd-utils e2fsprogs libubootenv-tool" ;;
    *) echo "apt.sh: no group '$1'; there are: $groups" >&2; exit 2 ;;
    esac
}

why() {
    case $1 in
    base) echo "to compile the extension and make the virtual environment" ;;
    fuzz) echo "libFuzzer and its sanitizers come with clang and its runtime" ;;
    peers) echo "delta tools to compare with in demo and bench, and what counts instructions; each is optional" ;;
    corpus) echo "to fetch pairs from Debian's archive, and to make images of them" ;;
    board) echo "to compile the board program, and to run it on an emulated board beside U-Boot's own tools" ;;
    esac
}

if [ $# -eq 0 ]; then
    for g in $groups; do printf '%-8s %s\n         %s\n' "$g" "$(packages "$g")" "$(why "$g")"; done
    exit 0
fi

for g in "$@"; do
    list=$(packages "$g")
    absent=""
    for p in $list; do
        dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || absent="$absent $p"
    done
    if [ -z "$absent" ]; then echo "apt.sh: $g: all there"; continue; fi
    echo "apt.sh: $g: installing$absent ($(why "$g"))"
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "apt.sh: run as root: apt-get install$absent" >&2; exit 1; }
        as_root="sudo"
    fi
    export DEBIAN_FRONTEND=noninteractive
    $as_root apt-get -q update
    # shellcheck disable=SC2086  # a list of words is what is meant
    $as_root apt-get -q -y --no-install-recommends install $absent
done
