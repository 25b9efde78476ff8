# Sourced by the other scripts: makes .venv with the package installed, once, and again when pyproject.toml changes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-python3}
export OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}   # LAPACK's threads fight XLA's on small matrices

environment() {  # environment EXTRAS
    if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "jaxkin needs Python 3.11 or newer; set PYTHON to one." >&2
        exit 1
    fi
    local stamp=".venv/.installed-$1"
    if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
        [ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
        echo "installing jaxkin[$1] into .venv ..."
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$1]"
        touch "$stamp"
    fi
}
