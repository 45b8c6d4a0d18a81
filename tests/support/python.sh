# shellcheck shell=bash
# What the suites in Python have in common; they source it. Tools and virtual environments are installed where they are
# kept (~/.cache/haulier-test), and made anew when what they are made of has changed.
cache=${HAULIER_TEST_CACHE:-$HOME/.cache/haulier-test}
environments=$cache/python
uv_version=0.13.8
uv=$environments/uv-$uv_version/bin/uv
export UV_PYTHON_DOWNLOADS=never PYTHONDONTWRITEBYTECODE=1

mkdir -p "$environments"

say() { printf '%s: %s\n' "$(basename "$PWD")" "$*" >&2; }

# packages NAME...: installs Debian's packages.
packages() {
    say "installing $*"
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@"; } >&2
}

# alone COMMAND...: runs it while no other suite installs anything.
alone() {
    {
        flock 9
        "$@"
    } 9>"$environments/lock"
}

# install_uv: what installs the rest in seconds.
install_uv() {
    [ ! -x "$uv" ] || return 0
    say "installing uv"
    if ! python3 -m venv "$environments/uv-$uv_version" >/dev/null 2>&1; then
        packages python3-venv
        python3 -m venv --clear "$environments/uv-$uv_version"
    fi
    "$environments/uv-$uv_version/bin/pip" install -q --disable-pip-version-check "uv==$uv_version"
}

# environment NAME FILE [FILE]: the virtual environment of what the first file names, and of what the second one does
# without what that depends on.
environment() {
    local directory=$environments/$1 python=$environments/$1/bin/python
    install_uv
    if ! cat "${@:2}" | cmp -s - "$directory/haulier-requirements.txt"; then
        say "installing $1"
        "$uv" venv -q --clear --python python3 "$directory"
        "$uv" pip install -q --python "$python" -r "$2"
        [ -z "${3:-}" ] || "$uv" pip install -q --python "$python" --no-deps -r "$3"
        cat "${@:2}" >"$directory/haulier-requirements.txt"
    fi
}
