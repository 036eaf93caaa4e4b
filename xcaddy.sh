#!/usr/bin/env bash
# Builds ./osa-gateway: Caddy with the OSA Gateway modules in it.
#
#   ./xcaddy.sh                          build
#   ./xcaddy.sh --with MODULE[@VERSION][=PATH]
#                                        build with further Caddy plugins (repeatable),
#                                        from PATH where one is named
#   ./xcaddy.sh run [ARGS...]            build, then start a gateway for development;
#                                        ARGS go to `osa-gateway osa dev`
#
# Needs Go and nothing else. Where xcaddy is installed it is used; where it is
# not, `go build` makes the same program.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The toolchain that go.mod names, also where Go was told to use only its own.
export GOTOOLCHAIN=${GOTOOLCHAIN:-auto}

MODULE=github.com/osa-edge/osa-gateway
BINARY=osa-gateway

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'xcaddy.sh: %s\n' "$*" >&2; exit 1; }

with=() run=false args=()
while (($#)); do
  case $1 in
    --with)   [[ ${2-} ]] || die "--with needs a module, such as github.com/caddy-dns/cloudflare"
              with+=("$2"); shift 2 ;;
    --with=*) with+=("${1#--with=}"); shift ;;
    -h|--help) sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    run)      run=true; shift; args=("$@"); break ;;
    *)        die "unknown argument '$1': see ./xcaddy.sh --help" ;;
  esac
done

command -v go >/dev/null || die "Go is not installed: get it from https://go.dev/dl/"

# The version is the commit that the tree stands on; a tree without git has none.
version=$(git describe --tags --always --dirty 2>/dev/null || echo unknown)
caddy=$(go list -m -f '{{.Version}}' github.com/caddyserver/caddy/v2)
ldflags="-s -w -X github.com/caddyserver/caddy/v2.CustomVersion=$version -X github.com/caddyserver/caddy/v2.CustomBinaryName=$BINARY"
# As xcaddy does: databases that Caddy could keep certificates' authorities in.
tags=nobadger,nomysql,nopgx
export CGO_ENABLED=${CGO_ENABLED:-0}

if command -v xcaddy >/dev/null; then
  say "building $BINARY $version on Caddy $caddy with xcaddy"
  plugins=(--with "$MODULE=$PWD")
  for m in ${with[@]+"${with[@]}"}; do plugins+=(--with "$m"); done
  XCADDY_GO_BUILD_FLAGS="-trimpath -tags $tags -ldflags '$ldflags'" xcaddy build "$caddy" --output "./$BINARY" "${plugins[@]}"
elif ((${#with[@]} == 0)); then
  say "building $BINARY $version on Caddy $caddy with go build (a first build takes a few minutes)"
  go build -trimpath -tags "$tags" -ldflags "$ldflags" -o "./$BINARY" ./cmd/osa-gateway
else
  # What xcaddy does: a main package of its own that imports the plugins beside
  # this module, whose go.mod stays as it is.
  say "building $BINARY $version on Caddy $caddy with go build and: ${with[*]}"
  out=$PWD/$BINARY src=$PWD
  tmp=$(mktemp -d)
  trap 'rm -rf "$tmp"' EXIT
  cp go.sum "$tmp/"
  sed "s|^module .*|module build|" go.mod >"$tmp/go.mod"
  { echo 'package main'
    echo 'import ('
    echo '  caddycmd "github.com/caddyserver/caddy/v2/cmd"'
    echo '  _ "github.com/caddyserver/caddy/v2/modules/standard"'
    printf '  _ "%s"\n' "$MODULE" "${with[@]%%[@=]*}"
    echo ')'
    echo 'func main() { caddycmd.Main() }'
  } >"$tmp/main.go"
  (
    cd "$tmp"
    go mod edit -require "$MODULE@v0.0.0" -replace "$MODULE=$src"
    for m in "${with[@]}"; do
      if [[ $m == *=* ]]; then
        # A relative path is meant from where this module lies.
        path=$(cd "$src" && cd "${m#*=}" && pwd)
        go mod edit -require "${m%%[@=]*}@v0.0.0" -replace "${m%%[@=]*}=$path"
      else
        say "fetching $m"
        go get "$m"
      fi
    done
    go build -mod=mod -trimpath -tags "$tags" -ldflags "$ldflags" -o "$out" .
  )
fi
say "built ./$BINARY"

if $run; then
  exec "./$BINARY" osa dev --data-dir .osa-dev --address http://localhost:3000 ${args[@]+"${args[@]}"}
fi
