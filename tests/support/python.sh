# shellcheck shell=bash
# What the suites in Python have in common; they source it. Tools and virtual environments are installed where they are
# kept (~/.cache/haulier-test), and made anew when what they are made of has changed.
# shellcheck source=tests/support/common
. "$(dirname "${BASH_SOURCE[0]}")/common"

environments=$cache/python
uv_version=0.13.8
uv=$environments/uv-$uv_version/bin/uv
export UV_PYTHON_DOWNLOADS=never PYTHONDONTWRITEBYTECODE=1

mkdir -p "$environments"

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
    # Debian keeps what makes virtual environments in a package of its own.
    python3 -c 'import ensurepip' 2>/dev/null || packages python3-venv
    python3 -m venv --clear "$environments/uv-$uv_version"
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
