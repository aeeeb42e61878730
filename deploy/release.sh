#!/usr/bin/env bash
# Builds everything that is given out, into target/dist: static binary, Debian package, image, list of parts, checksums. Run it from
# anywhere, as root (for the image). Nothing is uploaded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -n "$(git status --porcelain)" ]; then
  echo "the checkout is not clean: a release is built from a commit" >&2
  exit 1
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
if ! grep -q "^## $version" CHANGELOG.md; then
  echo "CHANGELOG.md has no section $version" >&2
  exit 1
fi

deploy/check.sh
rm -rf target/dist
deploy/build.sh
deploy/package.sh --no-build
deploy/image.sh --no-build

dist=target/dist
install -m 0755 "$dist/root/rosterd" "$dist/rosterd-$version-$(uname -m)-linux"
if command -v cargo-cyclonedx >/dev/null; then
  cargo cyclonedx --format json --target "$(uname -m)-unknown-linux-musl" --override-filename "rosterd-$version.cdx"
  mv "rosterd-$version.cdx.json" "$dist/"
  find tests -name "rosterd-$version.cdx.json" -delete
else
  echo "cargo-cyclonedx is not installed: no list of parts beside the binary" >&2
fi
cd "$dist"
find . -maxdepth 1 -type f ! -name SHA256SUMS ! -name '*.sha256' -printf '%P\n' | sort | xargs sha256sum | tee SHA256SUMS
