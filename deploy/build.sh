#!/usr/bin/env bash
# Builds the static binary and lays out what the image is made of in target/dist. Run it from anywhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target="$(uname -m)-unknown-linux-musl"
if ! command -v musl-gcc >/dev/null; then
  echo "musl-gcc is missing, which compiles the C parts: install musl-tools" >&2
  exit 1
fi
for tool in rustc cargo readelf; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: install a Rust toolchain (1.94 or newer) and binutils" >&2; exit 1; }
done
if ! [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
  if ! command -v rustup >/dev/null; then
    echo "this toolchain has no standard library for $target, and rustup, which adds it, is not installed: add it by your package manager, or install rustup" >&2
    exit 1
  fi
  rustup target add "$target"
fi
export "CC_${target//-/_}=musl-gcc"

# With cargo-auditable the binary tells by itself what it was built from (`cargo audit bin`, syft, trivy read it).
if command -v cargo-auditable >/dev/null; then
  build=(auditable build)
else
  echo "cargo-auditable is not installed: the binary will not list what it was built from" >&2
  build=(build)
fi
cargo "${build[@]}" --release --locked --target "$target" --bin rosterd

root=target/dist/root
rm -rf "$root"
install -D -m 0755 "target/$target/release/rosterd" "$root/rosterd"
install -D -m 0644 -t "$root/etc" deploy/image/passwd deploy/image/group
install -d -m 0755 "$root/var/lib"
install -d -m 0700 target/dist/state
if readelf -l "$root/rosterd" | grep -q INTERP; then
  echo "the binary is not static: it asks for a loader" >&2
  exit 1
fi
