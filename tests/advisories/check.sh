#!/usr/bin/env bash
# Fails on an advisory that the gateway's code reaches and that a newer version
# mends. The database is the Go module golang.org/x/vulndb, at a pinned version, so
# that a run needs nothing but a Go module proxy and says the same tomorrow.
set -euo pipefail
cd "$(dirname "$0")/../.."

export GOTOOLCHAIN=${GOTOOLCHAIN:-auto}
govulncheck_version=v1.9.0
vulndb_version=v0.0.0-20261105234957-e22db6528018
tools="${OSA_TOOLS:-$PWD/.tools}"
check="$tools/govulncheck-$govulncheck_version"
index="$tools/vulndb-$vulndb_version"

mkdir -p "$tools"
if [ ! -x "$check" ]; then
	echo "installing govulncheck $govulncheck_version into $tools"
	GOBIN="$tools" go install "golang.org/x/vuln/cmd/govulncheck@$govulncheck_version"
	mv "$tools/govulncheck" "$check"
fi
if [ ! -d "$index" ]; then
	echo "making an index of the advisories $vulndb_version in $tools"
	made=$(mktemp -d "$tools/vulndb.XXXXXX")
	trap 'rm -rf "$made"' EXIT
	module=$(go mod download -json "golang.org/x/vulndb@$vulndb_version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
	GOBIN="$made" go install "golang.org/x/vulndb/cmd/indexdb@$vulndb_version"
	"$made/indexdb" -vulns "$module/data/osv" -out "$made/db"
	mv "$made/db" "$index"
fi
"$check" -db "file://$index" -format json ./... | go run ./tests/advisories tests/advisories/exceptions.txt
