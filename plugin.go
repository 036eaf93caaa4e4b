// Package osagateway imports every module of OSA Gateway, so that one line,
// `xcaddy build --with github.com/osa-edge/osa-gateway`, brings all of them in.
package osagateway

import (
	_ "embed"

	// The directives, and with them the modules behind them.
	_ "github.com/osa-edge/osa-gateway/caddyfile"

	"github.com/osa-edge/osa-gateway/command"
)

// The example goes into the binary, so that `osa dev` needs no other file. Only
// a package that lies beside it can embed it.
//
//go:embed Caddyfile.example
var exampleCaddyfile []byte

func init() { command.SetExampleCaddyfile(exampleCaddyfile) }
