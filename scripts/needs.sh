# Functions for the tests' scripts: find missing programs and install them. Sourced from the project's root.

have() { command -v "$1" >/dev/null 2>&1; }

say() { printf '%s\n' "$*" >&2; }

# install COMMAND-OR-PURPOSE PACKAGE...: with apt-get, as root or with sudo.
install() {
    local what=$1
    shift
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! have sudo; then
            say "The tests need $what. Please install it (on Debian: apt-get install $*), then run this again."
            exit 1
        fi
        as_root=(sudo)
    fi
    if ! have apt-get; then
        say "The tests need $what, and this script installs with apt-get only. Please install it (the packages"
        say "on Debian: $*), then run this again."
        exit 1
    fi
    say "Installing $what ..."
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq
    if ! "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null; then
        say "$what could not be installed. Please install it yourself, then run this again."
        exit 1
    fi
}

# timed NAME COMMAND...
timed() {
    local name=$1 started=$SECONDS
    shift
    "$@"
    say "-- $name: $((SECONDS - started)) s"
}

have_postgres() { have initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }

need_postgres() { have_postgres || install "the PostgreSQL server's programs" postgresql; }

# On Debian both packages also start a service of their own, which nothing here uses.
need_redis() { have redis-server && have redis-benchmark || install Redis redis-server; }

need_etcd() { have etcd || install etcd etcd-server; }

need_python() { have python3 || install "Python 3" python3; }

# need_commands COMMAND...: those whose package has the same name.
need_commands() { for command in "$@"; do have "$command" || install "$command" "$command"; done; }

# need_python_packages FOLDER: those of the folder's requirements.txt; $python is then a program with them.
need_python_packages() {
    local place=target/python/$1
    need_python
    if [ ! "$place/installed" -nt "$1/requirements.txt" ]; then
        python3 -m venv --clear "$place" 2>/dev/null || { install "Python's venv" python3-venv; python3 -m venv --clear "$place"; }
        "$place/bin/pip" install --quiet --disable-pip-version-check --requirement "$1/requirements.txt"
        touch "$place/installed"
    fi
    # shellcheck disable=SC2034 # for the script that sources this
    python=$place/bin/python
}

# A Node no older than Debian 12's.
have_node() {
    have npm && node -e '
        const [major, minor] = process.versions.node.split(".").map(Number);
        process.exit(major > 18 || (major === 18 && minor >= 19) ? 0 : 1);'
}

# need_node FOLDER: Node, and the packages of the folder's package-lock.json.
need_node() {
    have_node || install "Node 18.19 or newer, with npm" nodejs npm
    have_node || { say "The tests need Node 18.19 or newer, not $(node --version)."; exit 1; }
    # npm writes this file at the end of an installation.
    if [ ! "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" ]; then
        npm --prefix "$1" ci --ignore-scripts --no-audit --no-fund
    fi
}
