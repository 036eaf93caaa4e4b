#!/usr/bin/env bash
# Prints the benchmarks' tables. They take as long as they take and never fail
# because of a figure.
#
#   tests/bench/run.sh               a short form
#   tests/bench/run.sh --long        more and longer rounds; streams: 5,000 subscribers,
#                                    one match among 10,000, a resume of 100,000 events;
#                                    a log of 1,000,000 events instead of 50,000
#   tests/bench/run.sh --json        the figures as JSON, one document a benchmark
#   tests/bench/run.sh --before FILE the binary of the version before: its latency at one
#                                    connection stands beside, and the conversion of
#                                    its store is measured
#   tests/bench/run.sh --peer FILE   another event stream hub beside ours: see
#                                    tests/bench/stream/main.go for what FILE says;
#                                    may be given more than once
#
# For figures worth comparing, run nothing else on the machine meanwhile. The
# store is made in the current directory: run this on the disk that you ask about.
set -euo pipefail

rounds=3 requests=40000 seconds=5 events=50000 json=() peers=() latency=() convert=()
bodies=(-rounds 1 -requests 100 -events 20000 -seconds 3)
streams=(-subscribers 1000 -rounds 1 -match 0 -resume 0)
while [ $# -gt 0 ]; do
	case "$1" in
	--long)
		rounds=7 requests=150000 seconds=20 events=1000000
		streams=(-subscribers 1000,5000 -rounds 3)
		bodies=(-rounds 5 -requests 400 -events 100000 -seconds 10)
		;;
	--json) json=(-json) ;;
	--before)
		[ $# -gt 1 ] || { echo "--before wants a binary" >&2 && exit 2; }
		shift
		[ -x "$1" ] || { echo "cannot run $1" >&2 && exit 2; }
		latency=(-peer-binary "$(realpath "$1")") convert=(-convert-from "$(realpath "$1")")
		;;
	--peer)
		[ $# -gt 1 ] || { echo "--peer wants a file" >&2 && exit 2; }
		shift
		[ -r "$1" ] || { echo "cannot read $1" >&2 && exit 2; }
		peers+=("$(realpath "$1")")
		;;
	*)
		sed -n '2,18p' "$0" >&2
		exit 2
		;;
	esac
	shift
done
cd "$(dirname "$0")/../.."

go run ./tests/bench/auth -rounds "$rounds" -requests "$requests" "${json[@]}"
go run ./tests/bench/webhook -rounds "$rounds" -requests "$requests" -overload -overload-seconds "$seconds" "${latency[@]}" "${json[@]}"
go run ./tests/bench/body "${bodies[@]}" "${json[@]}"
go run ./tests/bench/stream "${streams[@]}" -peer "$(IFS=, && echo "${peers[*]}")" "${json[@]}"
go run ./tests/bench/size -events "$events" "${convert[@]}" "${json[@]}"
