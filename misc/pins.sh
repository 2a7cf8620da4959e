#!/bin/bash
# Pins every package of pyproject.toml, with the hashes of all files of a release (Linux x86-64 and ARM64
# among them), so that an installation is the same everywhere and a changed file is refused.
# Needs pip-tools. What is pinned stays unless asked: misc/pins.sh --upgrade
set -eu
cd "$(dirname "$0")/.."
pin() {  # pin FILE [OPTION…]
    local file=$1 head; shift
    pip-compile --quiet --generate-hashes --strip-extras --no-allow-unsafe --no-header --no-annotate \
        --unsafe-package playwright --unsafe-package pyee --unsafe-package greenlet \
        --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
        "$@" --output-file "$file" pyproject.toml
    sed -i '/^# WARNING: The following/,$d' "$file"  # what the tests' axe-core wants, and doesn't use
    head="# Written by misc/pins.sh from pyproject.toml."
    grep -qxF "$head" "$file" || sed -i "1i $head" "$file"
}
pin requirements.txt "$@"
pin requirements-test.txt --extra test --constraint requirements.txt "$@"
pin requirements-blender.txt --extra blender --constraint requirements.txt "$@"
