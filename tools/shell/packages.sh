# install_packages GROUP…: makes sure that the groups of tools/packages.txt are installed.
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

# packages_of GROUP…: names, one a line.
packages_of() {
  awk -v wanted=" $* " '/^\[/ {on = index(wanted, " " substr($1, 2, length($1) - 2) " ")}
                        /^[a-z]/ && on {print $1}' tools/packages.txt | sort -u
}

# missing_packages GROUP…: those that dpkg does not have.
missing_packages() {
  local name
  for name in $(packages_of "$@"); do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
  done
}

# as_root COMMAND…: as it is for root, with sudo for others.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

check_distribution() {
  if have apt-get && have dpkg-query; then return 0; fi
  fail "this script installs packages with apt (Debian 12, Ubuntu 24.04)" \
    "Elsewhere: install the counterparts of tools/packages.txt by hand, then run" \
    "TENON_SKIP_PACKAGES=1 $0"
}

check_permission() {
  if [ "$(id -u)" -eq 0 ] || have sudo; then return 0; fi
  fail "packages are missing, and neither root nor sudo is here" \
    "As root: apt-get install --no-install-recommends $*" \
    "Then run $0 again."
}

apt_quietly() {
  local log=$1
  shift
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1
}

install_packages() {
  [ -z "${TENON_SKIP_PACKAGES:-}" ] || return 0
  check_distribution
  local missing log
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  say "Installing ${#missing[@]} packages: ${missing[*]}"
  check_permission "${missing[@]}"
  require_space /usr 1500 "installing packages"
  log=$(mktemp)
  # A fresh machine has no package lists, an old one stale ones: only then are they fetched.
  if apt_quietly "$log" install --no-install-recommends "${missing[@]}"; then
    note "installed"
  elif note "refreshing the package lists" && apt_quietly "$log" update &&
    apt_quietly "$log" install --no-install-recommends "${missing[@]}"; then
    note "installed"
  else
    cat "$log" >&2
    fail "apt-get could not install ${missing[*]} (its own message is above)" \
      "No network? Check that apt-get update works." \
      "Not found? On Ubuntu the component universe must be on: add-apt-repository universe"
  fi
  rm -f "$log"
}
