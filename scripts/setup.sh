#!/bin/bash
# Installs what is missing on Debian 12: "build" (the default) for `make`, "test" for `make test`,
# "bench" for `make bench`, "demo" for `make demo`. As root or with sudo that asks no password; else it prints the exact
# command and exits 1. Does nothing, quickly, when everything is there.
set -euo pipefail

BUILD_PACKAGES=(gcc make libc6-dev linux-libc-dev libseccomp-dev libyaml-dev
    libarchive-dev libzstd-dev zlib1g-dev libjansson-dev nettle-dev)
TEST_PACKAGES=(bats libcmocka-dev musl-tools busybox-static golang-go shellcheck clang-format
    clang-tidy gcc-aarch64-linux-gnu libc6-dev-arm64-cross attr acl e2fsprogs git rsync sqlite3
    python3 tmux fuse-overlayfs fuse3 procps file xz-utils bzip2 util-linux diffutils umoci skopeo)
BENCH_PACKAGES=(musl-tools golang-go git python3 fuse-overlayfs fuse3 proot xfsprogs util-linux)
DEMO_PACKAGES=(dpkg-dev xz-utils bzip2 diffutils)

case ${1:-build} in
build) want=("${BUILD_PACKAGES[@]}") ;;
test) want=("${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}" "${DEMO_PACKAGES[@]}") ;;
bench) want=("${BUILD_PACKAGES[@]}" "${BENCH_PACKAGES[@]}") ;;
demo) want=("${BUILD_PACKAGES[@]}" "${DEMO_PACKAGES[@]}") ;;
*)
    echo "usage: scripts/setup.sh [build|test|bench|demo]" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null; then
    echo "setup: not a Debian system; install by hand what Debian calls: ${want[*]}" >&2
    exit 1
fi

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null |
    sed -n 's/^installed //p')
missing=()
for package in "${want[@]}"; do
    grep -qxF "$package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

install=(apt-get install -y --no-install-recommends "${missing[@]}")
if [ "$(id -u)" = 0 ]; then
    root=(env DEBIAN_FRONTEND=noninteractive)
elif sudo -n true 2>/dev/null; then
    root=(sudo -n env DEBIAN_FRONTEND=noninteractive)
else
    echo "setup: packages are missing and this is not root; run:" >&2
    echo "    sudo ${install[*]}" >&2
    exit 1
fi
echo "setup: installing ${missing[*]}"
"${root[@]}" "${install[@]}" && exit 0
# A machine whose package lists are old or absent.
"${root[@]}" apt-get update
"${root[@]}" "${install[@]}"
