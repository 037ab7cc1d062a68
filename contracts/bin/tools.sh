# Sourced by the scripts beside: installs the pinned tools when needed and names the forge binary.
set -euo pipefail
contracts="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$contracts"

# npm leaves this file behind; older than the lock file means another set of packages.
installed="node_modules/.package-lock.json"
if [[ ! -f $installed || package-lock.json -nt $installed ]]; then
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    touch "$installed"
fi

# The binary itself: the wrapper around it is a Node process that outlives a kill.
case "$(uname -s)-$(uname -m)" in
Linux-x86_64) platform=linux-amd64 ;;
*) echo "no forge binary for $(uname -s) $(uname -m)" >&2 && exit 1 ;;
esac
forge="$contracts/node_modules/@foundry-rs/forge-$platform/bin/forge"
export FOUNDRY_DISABLE_NIGHTLY_WARNING=1
