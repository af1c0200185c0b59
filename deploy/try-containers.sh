#!/usr/bin/env bash
# Builds the image, starts the three nodes of compose.yaml, waits until all are healthy, and takes them down again.
# Without a running container engine it says so and stops: the files' syntax is checked by `make check` in any case.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

for engine in docker podman; do
    if "$engine" info >/dev/null 2>&1 && "$engine" compose version >/dev/null 2>&1; then
        # Under a name of its own: taking it down removes its volumes, which must not be those of a cluster in use.
        compose=("$engine" compose --project-name covey-try)
        trap '"${compose[@]}" down --volumes --timeout 60' EXIT
        "${compose[@]}" up --build --wait --wait-timeout 120
        "${compose[@]}" exec -T covey-1 covey status
        exit 0
    fi
done
echo "no running docker or podman with compose here; nothing was built" >&2
exit 1
