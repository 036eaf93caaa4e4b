// Command osa-gateway is Caddy with the OSA Gateway modules: the same program
// that `xcaddy build --with github.com/osa-edge/osa-gateway` makes.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/osa-edge/osa-gateway"
)

func main() {
	caddycmd.Main()
}
