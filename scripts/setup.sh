# Sourced by run, test and check: sees to it that .venv holds this checkout, and does nothing when it does.
# set_up LEVEL installs what LEVEL needs: run, test (and run), check (and both).
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
VENV=$ROOT/.venv
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# Prints the interpreter to make environments with: 3.11 or later, and able to (Debian packs ensurepip apart).
# $PYTHON, where it is set; else the system's first: distributions build theirs with profile-guided and link-time
# optimisation, pyenv does not, and a daemon is 10 to 19 % slower on such a one.
# Never that of an environment, which might be the very one that is made anew.
find_python() {
  local candidate check='
import sys, venv, ensurepip
ensurepip.version()
sys.version_info >= (3, 11) or sys.exit(1)
print(sys._base_executable)'
  for candidate in ${PYTHON:-/usr/bin/python3 python3 python3.11 python3.12 python3.13 python3.14}; do
    "$candidate" -c "$check" 2>/dev/null && return
  done
  return 1
}

# Whether .venv works, was made for where it lies now (its commands name their folder), and with $PYTHON if that is set.
whole_venv() {
  "$VENV/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null &&
    grep -qsF "$VENV/bin/" "$VENV/bin/pip" &&
    { [ -z "${PYTHON:-}" ] || [ "$("$PYTHON" -VV 2>&1)" = "$("$VENV/bin/python" -VV)" ]; }
}

make_venv() {
  if [ -z "${PYTHON:-}" ] && ! find_python >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing Debian's python3-venv"
    { apt-get update -qq &&
      DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends python3-venv; } >&2 ||
      say "apt-get could not install python3-venv"
  fi
  local python found
  python=$(find_python) || {
    python=${PYTHON:-python3}
    found=$("$python" -V 2>/dev/null) || found="not an interpreter"
    say "$python is $found, expected Python 3.11 or later with the modules venv and ensurepip" \
      "(on Debian: apt-get install python3-venv, as root)"
    exit 1
  }
  say "making .venv with $("$python" -V)"
  rm -rf "$VENV"
  "$python" -m venv "$VENV"
}

# What an installation depends on: these files, the interpreter, and where all of it lies.
fingerprint() {
  { echo "$ROOT"; "$VENV/bin/python" -VV; cat pyproject.toml constraints.txt; } | sha256sum
}

set_up() {
  local level levels=() extras=""
  case $1 in
    run) levels=(run) ;;
    test) levels=(run test) extras="[test]" ;;
    check) levels=(run test check) extras="[test,check]" ;;
  esac
  cd "$ROOT"
  exec 9<"$ROOT"
  flock 9 # another one at work here is waited for
  whole_venv || make_venv
  local wanted
  wanted=$(fingerprint)
  if [ "$wanted" != "$(cat "$VENV/installed-$1" 2>/dev/null)" ]; then
    say "installing trioworkers$extras and the packages it uses into .venv: about half a minute, this once"
    # setuptools first, from the same constraints: a build in isolation would take whatever is newest
    "$VENV/bin/python" -m pip install -qq -c constraints.txt setuptools
    "$VENV/bin/python" -m pip install -qq -c constraints.txt --no-build-isolation -e ".$extras"
    for level in "${levels[@]}"; do printf '%s\n' "$wanted" >"$VENV/installed-$level"; done
  fi
  exec 9<&-
  cd "$OLDPWD"
  PATH=$VENV/bin:$PATH
}

# systemd's own programs, by which tests judge units and sockets: Debian's package, if the machine has none.
set_up_systemd() {
  command -v systemd-analyze >/dev/null && command -v systemd-socket-activate >/dev/null && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
  say "installing Debian's systemd"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends systemd; } >&2 ||
    say "apt-get could not install systemd"
}

# PostgreSQL's server and PgBouncer, which tests of that store start in folders of their own: Debian's packages, without
# a server of the machine. Where they cannot be had, these tests are skipped; in CI they fail.
set_up_postgres() {
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && [ -x /usr/sbin/pgbouncer ] && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
  say "installing Debian's postgresql and pgbouncer, for tests"
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] ||
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
  install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends \
      -o Dpkg::Options::=--force-confold postgresql pgbouncer
  }
  { install 2>/dev/null || { apt-get update -qq && install; }; } >&2 || say "apt-get could not install postgresql or pgbouncer"
  # its service has nothing to do with the tests
  if command -v systemctl >/dev/null; then systemctl disable --now pgbouncer >/dev/null 2>&1 || true; fi
}

# What tests of completion and of the man page run: other shells, and groff. Without them these tests are skipped.
set_up_shells() {
  local wanted=() program
  for program in zsh fish groff; do
    command -v "$program" >/dev/null || wanted+=("${program/groff/groff-base}")
  done
  [ ${#wanted[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
  say "installing Debian's ${wanted[*]}, for tests"
  install() { DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${wanted[@]}"; }
  { install 2>/dev/null || { apt-get update -qq && install; }; } >&2 || say "apt-get could not install ${wanted[*]}"
}

# Prometheus, by which tests judge the metrics: its two programs out of Debian's package, which is not installed, so that
# no user is made and no service starts. Without them the tests that need them are skipped.
set_up_prometheus() {
  PATH=$PATH:$ROOT/.tools/usr/bin
  command -v prometheus >/dev/null && command -v promtool >/dev/null && return
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 0
  say "fetching the programs of Debian's prometheus into .tools: this once"
  local folder
  folder=$(mktemp -d)
  (
    cd "$folder"
    fetch() { apt-get -qq -o APT::Sandbox::User=root download prometheus; }
    fetch 2>/dev/null || { apt-get update -qq && fetch; }
    dpkg-deb -x prometheus_*.deb "$ROOT/.tools"
  ) >&2 || say "prometheus could not be fetched"
  rm -rf "$folder"
}

# Libraries of other people's bots, from PyPI and npm, for tests of commands: in folders of their own, so that their
# versions meet nothing of ours. Without them, these tests are skipped.
set_up_libraries() {
  local listed=$ROOT/tests/libraries folder=$ROOT/.tools/libraries wanted
  # wheels with compiled modules fit one Python only
  wanted=$({ "$VENV/bin/python" -VV; cat "$listed"/{requirements.txt,constraints.txt,package-lock.json}; } | sha256sum)
  [ "$wanted" != "$(cat "$folder/installed" 2>/dev/null)" ] || return 0
  command -v npm >/dev/null || { say "npm is missing, the libraries of bots cannot be had"; return 0; }
  say "fetching libraries of bots from PyPI and npm into .tools: this once"
  rm -rf "$folder"
  mkdir -p "$folder"
  cp "$listed"/package.json "$listed"/package-lock.json "$folder"
  { "$VENV/bin/python" -m pip install -qq --target "$folder/python" -c "$listed/constraints.txt" \
    -r "$listed/requirements.txt" &&
    npm ci --silent --no-audit --no-fund --prefix "$folder"; } >&2 ||
    { say "the libraries of bots could not be installed"; return 0; }
  printf '%s\n' "$wanted" >"$folder/installed"
}

# A browser for the tests of the dashboard: Debian's chromium, and axe-core from npm, which judges what a screen reader
# gets. Tests that need them fail where they cannot be had.
AXE=4.14.1
set_up_browser() {
  if [ ! -x /usr/bin/chromium ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing Debian's chromium: this once"
    fetch() {
      DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install --no-install-recommends \
        chromium fonts-dejavu-core
    }
    { fetch 2>/dev/null || { apt-get update -qq && fetch; }; } >&2 || say "apt-get could not install chromium"
  fi
  grep -qs "\"version\": \"$AXE\"" "$ROOT/.tools/node_modules/axe-core/package.json" && return
  command -v npm >/dev/null || { say "npm is missing, axe-core cannot be had"; return 0; }
  say "fetching axe-core from npm into .tools: this once"
  mkdir -p "$ROOT/.tools"
  npm install --silent --no-audit --no-fund --no-save --prefix "$ROOT/.tools" "axe-core@$AXE" >&2 ||
    say "npm could not install axe-core"
}
