# Sourced by the scripts: find a Python, bootstrap uv, make virtual environments. Needs Python 3.11+ with venv, and a shell.

say() { printf '%s\n' "$*" >&2; }

# $PYTHON, or the oldest fitting interpreter: what works on the oldest that Clary promises, and locks are resolved for, is tried on the
# newer ones by scripts/test. Not a newer one that is only named: it has to run, and to have venv.
find_python() {
    local name
    for name in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
        if command -v "$name" >/dev/null 2>&1 &&
            "$name" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1; then
            command -v "$name"
            return
        fi
    done
    say "Clary needs Python 3.11, 3.12 or 3.13 with its venv module (Debian: apt install python3-venv)."
    exit 1
}

# interpreter 3.12: the path of an interpreter of just that version. It has to run: a shim of pyenv's is there for versions that it
# then does not find, so pyenv's own folder is looked into as well. Nothing, and 1, where there is none.
interpreter() {
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        if "$candidate" -c "import sys, venv; sys.exit(sys.version_info[:2] != (${1/./, }))" >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# $UV: a pinned uv in .venv-uv, made once.
bootstrap_uv() {
    UV=$PWD/.venv-uv/bin/uv
    local want
    want=$(sed -n 's/^\(uv==[0-9.]*\).*/\1/p' requirements/uv.txt 2>/dev/null | head -n 1 || true)
    if [ ! -x "$UV" ] || [ "$(cat .venv-uv/wanted 2>/dev/null)" != "$want" ]; then
        local python
        python=$(find_python) || exit 1
        say "making .venv-uv with $want ..."
        rm -rf .venv-uv
        "$python" -m venv .venv-uv
        if [ -n "$want" ]; then
            .venv-uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
        else
            .venv-uv/bin/python -m pip install --quiet --disable-pip-version-check uv
        fi
        echo "$want" >.venv-uv/wanted
    fi
    export UV
}

# environment FOLDER MODE REQUIREMENTS...: a venv that holds exactly (MODE sync) or at least (MODE add) these files' packages.
# A stamp of the files' hashes makes the second call free.
environment() {
    local folder=$1 mode=$2 stamp python
    shift 2
    stamp=$(cat "$@" pyproject.toml | cksum)
    if [ "$(cat "$folder/.stamp" 2>/dev/null)" != "$stamp $*" ]; then
        python=$(find_python) || exit 1
        say "making $folder from $* ..."
        rm -f "$folder/.compiled"
        [ -x "$folder/bin/python" ] || "$UV" venv --quiet --python "$python" "$folder"
        if [ "$mode" = sync ]; then
            "$UV" pip sync --quiet --require-hashes --python "$folder" "$@"
        else
            "$UV" pip install --quiet --require-hashes --python "$folder" $(printf -- '-r %s ' "$@")
        fi
        case $folder in
            .venv | .venv-py*)
                "$UV" pip install --quiet --python "$folder" --require-hashes -r requirements/build.txt
                "$UV" pip install --quiet --python "$folder" --no-deps --no-build-isolation --editable .
                ;;
        esac
        echo "$stamp $*" >"$folder/.stamp"
    fi
    [ "$mode" = add ] || compile_once "$folder"
}

# compile_once FOLDER: bytecode for all that is installed there. Where PYTHONDONTWRITEBYTECODE is set, as images of containers often have
# it, every start of Clary and of every client would compile its modules again: the SageMaker SDK took 10 s to import instead of 3.
compile_once() {
    [ -e "$1/.compiled" ] && return
    say "compiling $1 ..."
    "$1/bin/python" -m compileall -qq -j 0 "$1/lib" || true # some packages carry files that are no Python, or of another version
    : >"$1/.compiled"
}

# way_out: pasta, by which jobs and replicas have networks of their own. No wheel has it: installed with apt where that is allowed.
way_out() {
    if [ "$(id -u)" = 0 ] && [ -c /dev/net/tun ] && [ "$(stat -c %a /dev/net/tun)" != 666 ]; then
        say "letting every user open /dev/net/tun, as Linux's documentation has it: pasta does not run as root ..."
        chmod 0666 /dev/net/tun || true
    fi
    command -v pasta >/dev/null 2>&1 && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "installing pasta (apt-get install passt) ..."
        (apt-get install -y passt || (apt-get update && apt-get install -y passt)) >/dev/null 2>&1 || true
        command -v pasta >/dev/null 2>&1 && return
    fi
    say "pasta is not installed (Debian, Ubuntu, Fedora: the package passt): jobs and models share this machine's network"
}
