# What jobs share; each begins with `. /job/lib.sh`. A job fails at the first command that fails.
set -eu

fail() { echo "FAIL: $*"; exit 1; }

# expect CODE COMMAND...: run it, demand this exit code
expect() {
    local want=$1 got=0
    shift
    "$@" || got=$?
    [ "$got" = "$want" ] || fail "exit code $got, not $want: $*"
}

# same FILE NODE: NODE begins with the bytes of FILE
same() { cmp -n "$(stat -c %s "$1")" "$1" "$2" || fail "$2 is not $1"; }

# tree DIR: everything about a folder that an update could change, one line each, sorted
tree() {
    (
        cd "$1"
        find . -type f -print0 | sort -z | xargs -0 -r sha256sum
        find . ! -type l ! -name lost+found -print0 | sort -z | xargs -0 stat -c '%a %n'
        find . -type l | sort | while read -r link; do echo "$(readlink "$link") <- $link"; done
    )
}

# same_tree WANT DIR: WANT is what tree() says about the folder as it shall be
same_tree() {
    tree "$2" >/tmp/tree
    cmp "$1" /tmp/tree || { diff "$1" /tmp/tree | head -20; fail "$2 differs"; }
}

# bad_blocks MTD: numbers of the bad blocks, on one line
bad_blocks() {
    mtdinfo -M "$1" | awk '{ for (i = 3; i <= NF; i++) if ($i == "BAD") { sub(":", "", $(i - 2)); printf "%s ", $(i - 2) } }'
}

# apply ARGS...: the program under test; its progress makes the host cut the power where it wants to
apply() { /job/otaunpack --progress json "$@"; }
