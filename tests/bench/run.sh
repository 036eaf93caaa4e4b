#!/usr/bin/env bash
# Prints the benchmarks' tables. They take as long as they take and never fail
# because of a figure.
#
#   tests/bench/run.sh            a short form
#   tests/bench/run.sh --long     more and longer rounds
#   tests/bench/run.sh --json     the figures as JSON
#
# For figures worth comparing, run nothing else on the machine meanwhile. The
# store is made in the current directory: run this on the disk that you ask about.
set -euo pipefail
cd "$(dirname "$0")/../.."

rounds=3 requests=40000 seconds=5 json=()
for arg in "$@"; do
	case "$arg" in
	--long) rounds=7 requests=150000 seconds=20 ;;
	--json) json=(-json) ;;
	*)
		sed -n '2,11p' "$0" >&2
		exit 2
		;;
	esac
done

go run ./tests/bench/auth -rounds "$rounds" -requests "$requests" "${json[@]}"
go run ./tests/bench/webhook -rounds "$rounds" -requests "$requests" -overload -overload-seconds "$seconds" "${json[@]}"
