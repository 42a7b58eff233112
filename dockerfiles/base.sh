#!/usr/bin/env bash
# Makes a base image where no image registry can be reached: Debian's python3.11 from Debian's packages, in under a
# minute. Needs root, debootstrap and a docker engine. Usage: dockerfiles/base.sh [IMAGE]
set -euo pipefail

image=${1:-scoring-base:bookworm}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
tar --directory "$root" --create . | docker import - "$image"
