# Sourced by ./test and ./demo: puts what they need on a Debian machine.

# System tools are found by users, too, and cargo where rustup leaves it.
PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin

# need PROGRAM:PACKAGE...: installs the packages of the programs that are not here. Fails, saying what to
# install, when it may not or cannot.
need() {
    missing=
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
    done
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "Not installed, and there is no apt-get here to install them:$missing" >&2
        return 1
    fi
    if [ "$(id -u)" = 0 ]; then
        sudo=
    elif sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null 2>&1; }; then
        sudo=sudo
    else
        echo "Not installed, and only root may install them: apt-get install$missing" >&2
        return 1
    fi
    echo "Installing:$missing" >&2
    # shellcheck disable=SC2086 # a list of packages, and perhaps no sudo
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 &&
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
}

# need_rust: fails, saying where to get it, when there is no Rust toolchain.
need_rust() {
    command -v cargo >/dev/null 2>&1 && return 0
    echo "cargo is not here. Install the Rust toolchain: https://rustup.rs" >&2
    return 1
}
