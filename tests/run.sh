#!/usr/bin/env bash
# Runs everything that must pass, one step after the other, and ends at the first
# step that fails. It installs what a step needs, and fails where it cannot.
#
#   tests/run.sh              all steps
#   tests/run.sh STEP...      these steps only
#   tests/run.sh --quick      the packages that differ from main, without the race
#                             detector and without tests that start the gateway
#   tests/run.sh --list       the names of the steps
#
# Sizes and places come from the environment:
#
#   OSA_FUZZTIME     each fuzz target, as go test's -fuzztime takes it (default 1500x)
#   OSA_FAULTS       number of faults of the step faults (default: a short form)
#   OSA_MEMORY, OSA_MEMORY_STORE, OSA_MEMORY_LIMIT
#                    load and store of the step memory: see tests/memory
#   OSA_HOSTILE      duration of the attack of the step hostile (default 25s)
#   OSA_SOAK         duration of the step soak (default: half a minute)
#   OSA_TOOLS        folder for the linter and other tools (default .tools)
#   OSA_BASE         what --quick compares with (default main)
set -euo pipefail
cd "$(dirname "$0")/.."

# Use the toolchain of go.mod even where Go is set to its own only.
export GOTOOLCHAIN=${GOTOOLCHAIN:-auto}
export OSA_TOOLS="${OSA_TOOLS:-$PWD/.tools}"

all=(build format lint advisories structure unit fuzz e2e faults memory hostile soak)
quick=(build format quick_lint structure quick_unit)
heavy='/tests/(structure|faults|memory|hostile|soak)$' # steps of their own

# -- Steps ---------------------------------------------------------------------

build() { go build ./...; }

format() {
	local files
	files=$(git ls-files --cached --others --exclude-standard '*.go' | while read -r f; do [ ! -e "$f" ] || echo "$f"; done | xargs gofmt -l)
	[ -z "$files" ] || { printf 'not formatted by gofmt:\n%s\n' "$files"; return 1; }
}

lint() { golangci_lint ./...; }

# Known vulnerabilities that the code reaches.
advisories() { ./tests/advisories/check.sh; }

# Imports, doc comments, lengths of files, links.
structure() { go test ./tests/structure; }

unit() {
	go test -race -timeout 20m $(go list ./... | grep -v -e /tests/ -e /tests$)
	# Badger itself has a data race that this test triggers: see its file.
	go test -run '^TestDamage$' ./storage/badger/format1
}

# The size is a count by default: at the end of a duration, Go may report a failure.
fuzz() {
	local file target
	for file in $(grep -rl --include='*_test.go' '^func Fuzz' . | sort); do
		for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
			show go test -run '^$' -fuzz "^$target\$" -fuzztime "${OSA_FUZZTIME:-1500x}" -fuzzminimizetime 20x "$(dirname "$file")"
		done
	done
}

# The real binary. A browser and an npm package follow its stream; the commands of
# the documentation use curl.
e2e() {
	need nodejs node
	need npm npm
	need curl curl
	need chromium chromium chromium-browser google-chrome google-chrome-stable
	go test -count=1 -p 1 -timeout 15m $(go list ./tests/... | grep -Ev "$heavy")
}

# Kills, power cuts, full disks: file systems of their own need root and these tools.
faults() {
	need e2fsprogs mkfs.ext4
	need xfsprogs mkfs.xfs
	go test -count=1 -timeout "$(limit "${OSA_FAULTS:-}")" ./tests/faults
}

# The gateway in 256 MiB: the memory cgroup needs root.
memory() { go test -count=1 -timeout "$(limit "${OSA_MEMORY:-}${OSA_MEMORY_STORE:-}")" ./tests/memory; }

hostile() { go test -count=1 -timeout "$(limit "${OSA_HOSTILE:-}")" ./tests/hostile; }

soak() { go test -count=1 -timeout "$(limit "${OSA_SOAK:-}")" ./tests/soak; }

quick_lint() {
	local changed
	changed=$(packages)
	[ -z "$changed" ] || golangci_lint $changed
}

quick_unit() {
	local changed
	changed=$(packages)
	grep '^\./tests/' <<<"$changed" | sed 's/$/ is not run by --quick/' || true
	changed=$(grep -v '^\./tests/' <<<"$changed" || true)
	[ -z "$changed" ] || go test $changed
}

# -- Helpers -------------------------------------------------------------------

show() { echo "$*" && "$@"; }

# The timeout of a step: a step that was given a size may take a day.
limit() { [ -z "$1" ] && echo 15m || echo 24h; }

golangci_lint() {
	local version=v2.15.0
	local lint="$OSA_TOOLS/golangci-lint-$version"
	if [ ! -x "$lint" ]; then
		echo "installing golangci-lint $version into $OSA_TOOLS"
		mkdir -p "$OSA_TOOLS"
		GOBIN="$OSA_TOOLS" go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version"
		mv "$OSA_TOOLS/golangci-lint" "$lint"
	fi
	"$lint" run --allow-serial-runners "$@"
}

# The packages with files that differ from $OSA_BASE or are not committed.
packages() {
	local base
	base=$(git merge-base HEAD "${OSA_BASE:-main}" 2>/dev/null) || base=HEAD
	{ git diff --name-only "$base" && git ls-files --others --exclude-standard; } |
		sed -e 's|^|./|' -e 's|/testdata/.*|/x|' -e 's|/[^/]*$||' | sort -u |
		while read -r dir; do
			if compgen -G "$dir/*.go" >/dev/null; then echo "$dir"; fi
		done
}

# Installs a Debian package unless one of its commands is there.
need() {
	local package=$1 command
	shift
	for command in "$@"; do
		if command -v "$command" >/dev/null; then return; fi
	done
	if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
		echo "$package is needed: install it, or run this as root where apt-get is"
		return 1
	fi
	echo "installing $package"
	apt-get update -q && apt-get install -qy --no-install-recommends "$package"
}

# -- Run -----------------------------------------------------------------------

case ${1:-} in
-h | --help) sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
--list) printf '%s\n' "${all[@]}" && exit ;;
--quick) steps=("${quick[@]}") ;;
"") steps=("${all[@]}") ;;
*) steps=("$@") ;;
esac
for step in "${steps[@]}"; do
	[[ " ${all[*]} ${quick[*]} " == *" $step "* ]] || { echo "unknown step $step: see tests/run.sh --help" >&2 && exit 2; }
done
for step in "${steps[@]}"; do
	printf '\n== %s\n' "$step"
	began=$SECONDS
	set +e
	(set -e; "$step")
	code=$?
	set -e
	took=$((SECONDS - began))
	[ $code = 0 ] || { printf '\n== %s failed after %d s. Run it alone: tests/run.sh %s\n' "$step" $took "$step" && exit 1; }
	printf '== %s passed in %d s\n' "$step" $took
done
printf '\n== all passed in %d s\n' $SECONDS
