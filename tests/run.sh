#!/usr/bin/env bash
# Everything that must pass. What it needs and this machine lacks it installs;
# where it cannot, it fails. Sizes come from the environment:
#   OSA_FAULTS   faults of the fault suite (default: a short form)
#   OSA_MEMORY, OSA_MEMORY_STORE  load and store of the runs in 256 MiB: see tests/memory
#   OSA_SOAK     how long the soak lasts
#   OSA_HOSTILE  how long the attack of tests/hostile lasts
#   OSA_FUZZTIME how long each fuzz target runs, as go test's -fuzztime takes it
#                (default 1500x: by count, since Go can take the end of a time for a
#                failure)
set -euo pipefail
cd "$(dirname "$0")/.."

# The toolchain that go.mod names, also where Go was told to use only its own.
export GOTOOLCHAIN=${GOTOOLCHAIN:-auto}

golangci_version=v2.15.0
tools="${OSA_TOOLS:-$PWD/.tools}"
started=$(date +%s)

step() { printf '\n== %s (after %ds)\n' "$1" "$(($(date +%s) - started))"; }

step "build"
go build ./...

step "format"
unformatted=$(gofmt -l $(git ls-files --cached --others --exclude-standard '*.go'))
if [ -n "$unformatted" ]; then
	printf 'not gofmt-ed:\n%s\n' "$unformatted"
	exit 1
fi

step "lint, go vet among it"
lint="$tools/golangci-lint-$golangci_version"
if [ ! -x "$lint" ]; then
	echo "installing golangci-lint $golangci_version into $tools"
	mkdir -p "$tools"
	GOBIN="$tools" go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$golangci_version"
	mv "$tools/golangci-lint" "$lint"
fi
"$lint" run ./...

step "advisories that the code reaches"
OSA_TOOLS="$tools" ./tests/advisories/check.sh

step "unit tests, with the race detector"
go test -race -timeout 10m $(go list ./... | grep -v -e /tests/ -e /tests$)
# A race of Badger's own: see the file of this test.
go test -run '^TestDamage$' ./storage/badger/format1

step "fuzz targets"
for file in $(grep -rl --include='*_test.go' '^func Fuzz' . | sort); do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${OSA_FUZZTIME:-1500x}" -fuzzminimizetime 20x "$(dirname "$file")"
	done
done

step "end to end, on the real binary"
# Other people's clients follow the stream: a browser, and an npm package. The
# documentation's commands use curl.
# Here and nowhere else they are installed: the tests say what they miss.
need() { # Debian package, commands of which one must be there
	local package=$1 command
	shift
	for command in "$@"; do
		if command -v "$command" >/dev/null; then return; fi
	done
	if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
		echo "$package is needed: install it, or run this as root where apt-get is"
		exit 1
	fi
	echo "installing $package"
	apt-get update -q && apt-get install -qy --no-install-recommends "$package"
}
need nodejs node
need curl curl
need npm npm
need chromium chromium chromium-browser google-chrome google-chrome-stable
# The fault suite cuts the power of a file system of its own, and tests/memory
# needs a memory cgroup: both need root.
need e2fsprogs mkfs.ext4
go test -count=1 -p 1 -timeout 15m ./tests/...

step "done"
