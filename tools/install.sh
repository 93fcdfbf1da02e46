# Sourced by the install scripts: apt packages, said in one line, without starting or replacing servers.

# apt_install PACKAGE...: installs those packages that are missing.
apt_install() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if ! command -v apt-get >/dev/null; then
    echo "cannot install ${missing[*]}: this machine has no apt-get" >&2
    return 1
  fi
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "cannot install ${missing[*]}: neither root nor sudo" >&2; return 1; }
    sudo=(sudo)
  fi
  echo "installing ${missing[*]} (apt-get)"
  # Packages start their services after installation; a policy of 101 ("forbidden", see
  # invoke-rc.d(8)) keeps them from it. A policy that is already there stays.
  local policy=/usr/sbin/policy-rc.d ours=
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
    "${sudo[@]}" chmod +x "$policy"
    ours=yes
  fi
  local log status=0
  log=$(mktemp)
  { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" ||
    { "${sudo[@]}" apt-get update -q &&
      "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; }
  } >"$log" 2>&1 </dev/null || status=$?
  if [ -n "$ours" ]; then "${sudo[@]}" rm -f "$policy"; fi
  if [ "$status" -ne 0 ]; then tail -n 5 "$log" >&2; fi
  rm -f "$log"
  return "$status"
}
