#!/usr/bin/env bash
# Makes an image where no image registry can be reached: Debian's packages alone, in under a minute; python3.11 as a base
# for releases unless others are named (`scoring-proxy:bookworm haproxy` for a swarm's proxy).
# Needs root, debootstrap and a docker engine. Usage: dockerfiles/base.sh [IMAGE [PACKAGE,...]]
set -euo pipefail

image=${1:-scoring-base:bookworm}
packages=${2:-python3,python3-venv,ca-certificates,libgomp1}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

debootstrap --variant=minbase --include="$packages" bookworm "$root"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
tar --directory "$root" --create . | docker import - "$image"
