#!/usr/bin/env bash
# Locks requirements/*.in with hashes. dev holds everything and comes first; the others take their versions from it.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() { # SET [OPTION…]
    echo "lock: requirements/$1.txt"
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-header --output-file "requirements/$1.txt" "requirements/$1.in" "${@:2}"
}

compile dev --upgrade
for set in service signing infra local checks conformance; do
    compile "$set" --upgrade --constraints requirements/dev.txt
done
# Only the wheel itself is read: what it would need to run is not wanted.
compile schema --no-deps
