#!/bin/bash
# get-source.sh PACKAGE DIR: unpacks the source of a Debian package into DIR, by apt with a private
# configuration: the machine's own sources with "deb-src" added, lists and state in a scratch
# directory; nothing of the system's apt is changed and no root is needed. Exit 1 where the machine
# has no apt, no sources or no network; the caller then takes another source.
set -euo pipefail
package=$1 dir=$(realpath -m "$2")

command -v apt-get >/dev/null && command -v dpkg-source >/dev/null || exit 1
work=$(mktemp -d /tmp/get-source.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/src" "$work/parts"

# Both formats of sources; only those of the distribution itself, which alone have the package.
code=$(sed -n "s/^VERSION_CODENAME=//p" /etc/os-release 2>/dev/null || true)
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -r "$file" ] || continue
    sed -n 's/^[[:space:]]*deb[[:space:]]/deb-src /p' "$file"
done | { grep -E "[[:space:]]${code:-.}" || true; } >"$work/sources.list"
for file in /etc/apt/sources.list.d/*.sources; do
    [ -r "$file" ] || continue
    grep -qE "^Suites:.*[[:space:]]${code:-.}" "$file" || continue
    sed -E 's/^Types:.*/Types: deb-src/' "$file" >"$work/parts/$(basename "$file")"
done
if [ ! -s "$work/sources.list" ] && [ -z "$(ls "$work/parts")" ]; then
    exit 1
fi

cat >"$work/apt.conf" <<CONF
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "$work/parts";
Dir::State::Lists "$work/lists";
Dir::Cache "$work/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
CONF
export APT_CONFIG=$work/apt.conf
cd "$work/src"
timeout 240 apt-get -qq update >"$work/log" 2>&1 || true
if ! timeout 240 apt-get -qq source "$package" >>"$work/log" 2>&1; then
    tail -5 "$work/log" >&2
    exit 1
fi
found=$(find . -mindepth 1 -maxdepth 1 -type d | head -1)
[ -n "$found" ] || exit 1
mkdir -p "$(dirname "$dir")"
rm -rf "$dir"
mv "$found" "$dir"
