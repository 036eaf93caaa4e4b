#!/usr/bin/env bash
# Writes this folder's copy of Badger: the root package of the version that go.mod
# names, with patches/ applied. After a new version: update.sh, and mend what no
# longer applies.
#
#   update.sh           write it
#   update.sh --check   only compare, and fail where it differs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

upstream=$(go list -m -f '{{.Dir}}' github.com/dgraph-io/badger/v4)
if [ -z "$upstream" ]; then
	go mod download github.com/dgraph-io/badger/v4
	upstream=$(go list -m -f '{{.Dir}}' github.com/dgraph-io/badger/v4)
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cp "$upstream"/*.go "$upstream/LICENSE" "$tmp"
rm "$tmp"/*_test.go
chmod u=rw,go=r "$tmp"/*
for patch in "$PWD"/patches/*.patch; do
	# Inside a work tree git would skip files that are not of it.
	(cd "$tmp" && GIT_CEILING_DIRECTORIES=$(dirname "$tmp") git apply "$patch")
done

if [ "${1-}" = --check ]; then
	diff -r -x patches -x README.md -x update.sh -x 'patch*_test.go' "$tmp" . || {
		echo "internal/third_party/badger is not what update.sh makes of go.mod's version" >&2
		exit 1
	}
else
	find . -maxdepth 1 -name '*.go' ! -name 'patch*_test.go' -delete
	cp "$tmp"/* .
fi
