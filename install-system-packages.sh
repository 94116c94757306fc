#!/usr/bin/env bash
# Installs the system packages that plate solving and some tests use, on Debian and Ubuntu:
# Astrometry.net with the Tycho-2 index files, PostgreSQL and Chromium. Run as root, or with sudo.
# Without them everything else works; tests that need them are skipped and say so.
set -euo pipefail

packages=(astrometry.net astrometry-data-tycho2 postgresql chromium)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "all system packages are installed"
  exit 0
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"
