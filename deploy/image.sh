#!/usr/bin/env bash
# Builds the image with buildah, which needs no daemon, and tries it out. Run it from anywhere, as root.
#
#   deploy/image.sh              builds the static binary first
#   deploy/image.sh --no-build   takes the one that deploy/build.sh has laid out
#
# Leaves localhost/rosterd:VERSION in the local store and target/dist/rosterd-VERSION.oci.tar.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v buildah >/dev/null; then
  echo "buildah is missing; with Docker: docker build -f deploy/Dockerfile -t rosterd ." >&2
  exit 1
fi
[ "${1:-}" = --no-build ] || deploy/build.sh

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
image=localhost/rosterd:$version
archive=target/dist/rosterd-$version.oci.tar
export BUILDAH_ISOLATION=chroot
buildah bud --quiet --build-arg BINARY=prebuilt -f deploy/Dockerfile -t "$image" . >/dev/null
rm -f "$archive"
buildah push --quiet "$image" "oci-archive:$archive"
echo "$image: $(stat -c %s target/dist/root/rosterd) bytes of binary, archive $(stat -c %s "$archive") bytes"
deploy/smoke.sh "$image"
