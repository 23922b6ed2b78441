#!/bin/sh
# Build hdiffz and hpatchz into .cache/tools: the peer for folder diffs. Debian does not package them and the PyPI module has
# no folder diff, but its source distribution carries the programs' source. A build takes about two minutes.
set -eu
cd "$(dirname "$0")/.."
version=2.6.0
sha256=9f0d05ee1784a8223df4ca806c47c4fc0dc2048aabd24e8694730e55a39aa5a6
python=${PYTHON:-python3}
tools=.cache/tools
[ -x $tools/hdiffz ] && [ -x $tools/hpatchz ] && { echo "hdiffz: there"; exit 0; }
command -v g++ >/dev/null || { echo "hdiffz: needs g++ (Debian: g++)" >&2; exit 1; }
mkdir -p $tools
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip download -q --disable-pip-version-check --no-deps --no-binary hdiffpatch -d "$work" "hdiffpatch==$version"
echo "$sha256  $work/hdiffpatch-$version.tar.gz" | sha256sum -c --quiet
tar -xzf "$work/hdiffpatch-$version.tar.gz" -C "$work"
make -s -C "$work/hdiffpatch-$version/hdiffpatch/_c_src/HDiffPatch" -j"$(nproc)" hdiffz hpatchz \
    LDEF=0 ZSTD=1 ZLIB=0 BZIP2=0 LZMA=1 MD5=0 BSD=0 VCD=0 XXH=0 >"$work/log" 2>&1 || { tail -5 "$work/log" >&2; exit 1; }
cp "$work/hdiffpatch-$version/hdiffpatch/_c_src/HDiffPatch/hdiffz" "$work/hdiffpatch-$version/hdiffpatch/_c_src/HDiffPatch/hpatchz" $tools/
echo "hdiffz: built in $tools"
