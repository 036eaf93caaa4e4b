// Package command adds `osa` to Caddy's command line: what developers and
// operators of the gateway need beside it.
package command

import (
	"errors"
	"fmt"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:      "osa",
		Usage:     "<command>",
		Short:     "Commands of OSA Gateway: dev, init, sign, send, listen, backup, restore",
		Long:      longHelp,
		CobraFunc: setup,
	})
}

const longHelp = `
What developers and operators of the gateway need beside it.

    dev      starts a complete gateway for development, with a stand-in for OPAL
    init     makes the secrets and the first credentials for production
    sign     prints the signature header of a webhook
    send     signs a webhook and posts it
    listen   follows the event stream in a terminal
    backup   writes a backup of a running gateway's store
    restore  makes a store of a backup

Secrets are read from the environment or from files, never from arguments,
which other users of the machine could see.`

// Caddy's own help ends with a link to the documentation of its command line,
// which knows nothing of these commands.
const helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}`

func setup(root *cobra.Command) {
	root.SetHelpTemplate(helpTemplate)
	root.AddCommand(devCommand(), initCommand(), signCommand(), sendCommand(), listenCommand(),
		backupCommand(), restoreCommand())
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("unknown command %q: see `osa-gateway osa --help`", args[0])
		}
		return cmd.Help()
	}
}

// exampleCaddyfile is the Caddyfile that `osa dev` starts with where no other
// is named. It lies at the root of the module, whose package hands it down.
var exampleCaddyfile []byte

// SetExampleCaddyfile is called by the root package, which can embed the file.
func SetExampleCaddyfile(b []byte) { exampleCaddyfile = b }

// flagErrors collects all errors of the arguments before anything is done, so that they are
// reported at once.
type flagErrors []error

func (p *flagErrors) add(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

func (p flagErrors) err() error {
	switch len(p) {
	case 0:
		return nil
	case 1:
		return p[0]
	}
	return fmt.Errorf("%d things are wrong:\n%w", len(p), errors.Join(p.bullets()...))
}

func (p flagErrors) bullets() []error {
	out := make([]error, len(p))
	for i, err := range p {
		out[i] = fmt.Errorf("  - %w", err)
	}
	return out
}
