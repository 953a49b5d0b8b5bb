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
