#!/usr/bin/env bash
# Builds everything that is given out, into target/dist: static binary, Debian package, image, list of parts, checksums. Run it from
# anywhere, as root (for the image). Nothing is uploaded. It wants every tool of deploy/check.sh (.ci/run unpacks those that it can), and
# cargo-auditable, cargo-cyclonedx, cargo-deb, buildah.
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

# What a release has to have beside the binary, missed now and not after an hour of building.
for tool in cargo-auditable cargo-cyclonedx; do
  command -v "$tool" >/dev/null || { echo "$tool is missing, and a release lists its parts: cargo install $tool --locked" >&2; exit 1; }
done

deploy/check.sh --strict
rm -rf target/dist
deploy/build.sh
deploy/package.sh --no-build
deploy/image.sh --no-build

dist=target/dist
install -m 0755 "$dist/root/rosterd" "$dist/rosterd-$version-$(uname -m)-linux"
cargo cyclonedx --format json --target "$(uname -m)-unknown-linux-musl" --override-filename "rosterd-$version.cdx"
mv "rosterd-$version.cdx.json" "$dist/"
find tests -name "rosterd-$version.cdx.json" -delete
cd "$dist"
find . -maxdepth 1 -type f ! -name SHA256SUMS ! -name '*.sha256' -printf '%P\n' | sort | xargs sha256sum | tee SHA256SUMS
