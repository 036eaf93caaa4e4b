package command

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/osa-edge/osa-gateway/signature"
)

func signCommand() *cobra.Command {
	var (
		secret    secretFlags
		timestamp int64
	)
	cmd := &cobra.Command{
		Use:   "sign [FILE|-]",
		Short: "Prints the signature header of a webhook",
		Long: `Prints the value of X-OSA-Signature for a body: t=<unix seconds>,v1=<hex>, where
v1 is HMAC-SHA256 over "<t>.<body>". The body is read from a file or from standard
input and is signed byte for byte, a newline at its end included: send it with
curl's --data-binary, as -d takes newlines out.

The secret is read from OSA_WEBHOOK_SHARED_SECRET, or from the variable or file
named.`,
		Example: `  source .osa-dev/dev.env
  curl -H "X-OSA-Signature: $(osa-gateway osa sign event.json)" \
       -H "Content-Type: application/json" --data-binary @event.json \
       $BASE_URL/api/webhooks/opal-workflow`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := secret.read()
			if err != nil {
				return err
			}
			body, err := readBody(cmd, args)
			if err != nil {
				return err
			}
			now := time.Now()
			if cmd.Flags().Changed("timestamp") {
				now = time.Unix(timestamp, 0)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), signature.Sign(key, body, now))
			return err
		},
	}
	secret.register(cmd, "secret", "OSA_WEBHOOK_SHARED_SECRET")
	cmd.Flags().Int64Var(&timestamp, "timestamp", 0, "unix seconds to sign with, instead of now")
	return cmd
}
