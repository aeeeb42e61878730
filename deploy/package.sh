#!/usr/bin/env bash
# Builds the Debian package into target/dist: binary, unit, configuration, manual pages, completions. Run it from anywhere.
#
#   deploy/package.sh            builds the static binary first
#   deploy/package.sh --no-build takes the one that deploy/build.sh has laid out
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v cargo-deb >/dev/null; then
  echo "cargo-deb is missing: cargo install cargo-deb --locked" >&2
  exit 1
fi
[ "${1:-}" = --no-build ] || deploy/build.sh

dist=target/dist
binary=$dist/root/rosterd
rm -rf "$dist/man" "$dist/completions"
mkdir -p "$dist/man" "$dist/completions"
"$binary" man --into "$dist/man"
"$binary" completions bash >"$dist/completions/rosterd.bash"
"$binary" completions zsh >"$dist/completions/_rosterd"
"$binary" completions fish >"$dist/completions/rosterd.fish"

package=$(cargo deb --no-build --no-strip --output "$dist/")
echo "$package"
dpkg-deb --info "$package" | sed -n 's/^ \(Package\|Version\|Architecture\|Installed-Size\):/\1:/p'
